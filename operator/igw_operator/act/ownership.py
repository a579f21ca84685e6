"""Who else sets our fields; and takes over from other field managers what blocks our own apply.

Server-side apply removes only what its own manager applied before. Somebody who changes a
port of our Service from 80 to 81 owns the item 81; applying ours adds 80 beside it, the
names collide, and the API server refuses, for ever. So after such a refusal their ownership
of that one field becomes ours, and the next apply removes what is not desired.
The same trick as client-go's ``csaupgrade``, for one field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Manifest

_DEPTH: Final = 2  # spec.ports, spec.template, data.key


def take_over(live: Mapping[str, Any], paths: Iterable[str]) -> list[Manifest] | None:
    """The ``managedFields`` with others' shares of the fields given to us; None: they have none."""
    fields = {tuple(_parts(path)[:_DEPTH]) for path in paths}
    entries: list[Manifest] = []
    taken: dict[str, Any] = {}
    for entry in live["metadata"].get("managedFields") or ():
        tree = entry.get("fieldsV1") or {}
        if not _is_ours(entry) and "subresource" not in entry:
            for field in fields:
                tree, share = _split(tree, field)
                taken = _merge(taken, share)
        if tree:
            entries.append({**entry, "fieldsV1": tree})
    if not taken:
        return None
    return [
        {**entry, "fieldsV1": _merge(entry["fieldsV1"], taken)} if _is_ours(entry) else entry
        for entry in entries
    ]


def find_owners(live: Mapping[str, Any], paths: Iterable[str]) -> list[str]:
    """Who else sets these fields, by the names of their field managers.

    ``live`` must come straight from the API server, with its ``managedFields``.
    """
    fields = [tuple(_parts(path)[:_DEPTH]) for path in paths]
    return sorted(
        {
            str(entry.get("manager") or "unknown")
            for entry in live["metadata"].get("managedFields") or ()
            if not _is_ours(entry) and "subresource" not in entry
            if any(_split(entry.get("fieldsV1") or {}, field)[1] for field in fields)
        }
    )


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (conventions.FIELD_MANAGER, "Apply")


def _parts(path: str) -> list[str]:
    """``spec.ports[80,TCP].name`` → ``f:spec``, ``f:ports``, ``f:name``."""
    return [f"f:{part}" for part in re.sub(r"\[[^]]*\]", "", path).split(".")]


def _split(
    tree: Mapping[str, Any], field: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tree without a field, and the field's part of the tree."""
    head, *rest = field
    if head not in tree:
        return dict(tree), {}
    others = {key: value for key, value in tree.items() if key != head}
    if not rest:
        return others, {head: tree[head]}
    remaining, share = _split(tree[head], tuple(rest))
    if remaining:
        others[head] = remaining
    return others, {head: share} if share else {}


def _merge(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _merge(merged[key], value) if key in merged else value
    return merged
