"""How many fields of our children others set beside us: they are left as they are, and counted.

Somebody's label or sidecar on a child of ours is theirs, and stays. But a fleet on which many
fields are set by hand is not quite the one that its gateways describe, and whoever wonders
should see it. `world.cache` counts when an object comes, because it keeps no ``managedFields``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from igw_operator import conventions

Shares = tuple[tuple[str, int], ...]
"""Managers, as they are told, and how many fields of an object each of them sets."""
Tell = Callable[[str, str, int], None]
"""Takes kind, manager and number of fields."""

OTHERS: Final = "others"
_MOST_MANAGERS: Final = 20
_ITSELF: Final = "."
_APPLY: Final = "Apply"


class ForeignFields:
    """The sums over all objects, by kind and manager.

    A manager's name is whatever a client chose: only so many are told apart, all further ones
    are ``others``.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._sums: dict[tuple[str, str], int] = {}

    def take(self, kind: str, fields: Mapping[str, int]) -> Shares:
        """Count an object's fields in; return what to give back when it goes or changes."""
        shares: dict[str, int] = {}
        for manager, count in fields.items():
            name = self._name(manager)
            shares[name] = shares.get(name, 0) + count
            self._add(kind, name, count)
        return tuple(shares.items())

    def give_back(self, kind: str, shares: Shares) -> None:
        """Count an object's fields out."""
        for manager, count in shares:
            self._add(kind, manager, -count)

    def _name(self, manager: str) -> str:
        known = {name for _, name in self._sums} - {OTHERS}
        return manager if manager in known or len(known) < _MOST_MANAGERS else OTHERS

    def _add(self, kind: str, manager: str, count: int) -> None:
        total = self._sums.pop((kind, manager), 0) + count
        if total:
            self._sums[kind, manager] = total
        self._tell(kind, manager, total)


def read_foreign_fields(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Fields that others set and we do not, by field manager; of an object that we apply.

    Subresources do not count: whoever writes ``status``, or scales, does what they are there for.
    """
    entries = manifest["metadata"].get("managedFields") or ()
    ours = next((it for it in entries if _is_ours(it)), None)
    if ours is None:
        return {}
    found: dict[str, int] = {}
    for entry in entries:
        if entry is ours or "subresource" in entry:
            continue
        count = _count_leaves(entry.get("fieldsV1") or {}, ours.get("fieldsV1") or {})
        if count:
            manager = str(entry.get("manager") or "unknown")
            found[manager] = found.get(manager, 0) + count
    return found


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (conventions.FIELD_MANAGER, _APPLY)


def _count_leaves(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> int:
    """Leaves of one tree of ``fieldsV1`` that are not in the other."""
    count = 0
    for name, below in theirs.items():
        if name == _ITSELF:  # the list's item as such, beside its fields
            continue
        if set(below) - {_ITSELF}:
            count += _count_leaves(below, ours.get(name) or {})
        else:
            count += name not in ours
    return count
