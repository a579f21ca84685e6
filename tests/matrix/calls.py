"""A request of the operator as the fault proxy sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_PATH: Final = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"(?:/(?P<plural>[^/]+))?(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?/?$"
)
_WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: what, where, and whether it writes or watches."""

    method: str
    path: str
    query: Mapping[str, str]
    token: str
    agent: str
    group: str
    namespace: str
    plural: str
    name: str
    subresource: str

    @property
    def is_watch(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.query.get("watch") == "true"

    @property
    def is_lease(self) -> bool:
        """Whether it is about who is active."""
        return self.plural == "leases"

    @property
    def is_write(self) -> bool:
        """Whether it changes anything but the lease."""
        return self.method in _WRITING and not self.is_lease

    @property
    def is_list(self) -> bool:
        """Whether it lists a kind."""
        return self.method == "GET" and bool(self.plural) and not self.name and not self.is_watch


Matches = Callable[[Call], bool]


def parse_call(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> Call:
    """Read a request's path."""
    found = _PATH.match(path)
    parts = found.groupdict(default="") if found else {}
    return Call(
        method=method,
        path=path,
        query=dict(query),
        token=headers.get("Authorization", "").removeprefix("Bearer "),
        agent=headers.get("User-Agent", ""),
        group=parts.get("group", ""),
        namespace=parts.get("namespace", ""),
        plural=parts.get("plural", ""),
        name=parts.get("name", ""),
        subresource=parts.get("subresource", ""),
    )


def everything(_: Call) -> bool:
    """Any request."""
    return True


def writes(namespace: str, plural: str = "", name: str = "", subresource: str = "") -> Matches:
    """Writes to a namespace, perhaps to one object."""

    def matches(call: Call) -> bool:
        return (
            call.is_write
            and call.namespace == namespace
            and plural in {"", call.plural}
            and name in {"", call.name}
            and (not plural or call.subresource == subresource)
        )

    return matches


def watches(plural: str = "") -> Matches:
    """The watch of one kind, or all watches."""
    return lambda call: call.is_watch and plural in {"", call.plural}


def requests_to(plural: str) -> Matches:
    """Every request about one kind."""
    return lambda call: call.plural == plural


def everything_but_leases(call: Call) -> bool:
    """Any request but those about who is active."""
    return not call.is_lease


def event_of(
    plural: str, namespace: str, kind: str = ""
) -> Callable[[Call, Mapping[str, Any]], bool]:
    """Events of a watch about objects in a namespace, perhaps of one type."""

    def matches(call: Call, event: Mapping[str, Any]) -> bool:
        about = event["object"].get("metadata") or {}
        return (
            plural in {"", call.plural}
            and about.get("namespace") == namespace
            and kind in {"", event["type"]}
        )

    return matches
