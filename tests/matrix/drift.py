"""Drift, generated: every leaf of every child that the builders make, and how to change it.

Leaves of lists stand for their siblings: one rule's expression is as good as another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from igw_operator import kinds
from igw_operator.api.objects import parse_gateway, parse_runtime
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.hold import hold_templates
from igw_operator.plan.inputs import Capabilities, PlanInput
from igw_operator.plan.reference import digest_templates
from igw_operator.plan.revision import revision_of
from integration.cluster import Manifest, RefusedError
from integration.conftest import Place

Path = tuple[str | int, ...]
# What a leaf is called cannot drift: another name is another object, another owner a foreigner.
_FIXED: Final = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "ownerReferences"),
)
# Something of this is valid in most fields that hold a string.
_WORDS: Final = ("7", "9Mi", "Never", "Always", "Local", "ClientIP", "UDP", "OnFailure", "ALL")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that the operator sets, and its value."""

    path: Path
    value: Any

    @property
    def pointer(self) -> str:
        """As JSON patch writes it (RFC 6901)."""
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in self.path)
        return "/" + "/".join(parts)


def desired_children(place: Place, name: str = "photos") -> dict[tuple[str, str], Manifest]:
    """What the operator wants of a gateway that is live."""
    gateway = parse_gateway(place.gateway(name))
    runtime = parse_runtime(place.cluster.must_get(kinds.RUNTIME.kind, "", "default"))
    inputs = PlanInput(
        gateway=gateway,
        runtime=runtime,
        capabilities=Capabilities(service_monitors=True, prometheus_rules=True),
    )
    revision = revision_of(runtime.spec, digest_templates())
    held = hold_templates(
        build_children(inputs), {}, gateway, runtime.name, revision, is_edited=False
    )
    return {
        (child["kind"], child["metadata"]["name"]): stamp(child, gateway) for child in held.children
    }


def leaves(desired: Manifest) -> list[Leaf]:
    """One leaf for each field of a child."""
    found: dict[tuple[str, ...], Leaf] = {}
    for leaf in _walk(desired, ()):
        if any(leaf.path[: len(it)] == it for it in _FIXED):
            continue
        found.setdefault(tuple("*" if isinstance(it, int) else it for it in leaf.path), leaf)
    return list(found.values())


def change(place: Place, kind: str, name: str, leaf: Leaf) -> bool:
    """Change a leaf in the first way that the API server allows; False: it allows none."""
    for operation in _operations(leaf):
        try:
            place.cluster.request(
                "PATCH",
                kinds.CHILD_BY_KIND[kind].path(place.namespace, name),
                [operation],
                "application/json-patch+json",
                fieldManager="drifter",
                fieldValidation="Strict",
            )
        except RefusedError as error:
            if error.status not in {400, 422, 500}:
                raise
        else:
            return True
    return False


def covers(wanted: Any, found: Any) -> bool:
    """Whether all that is wanted is there; others may have added to it."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and covers(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and all(
            any(covers(item, other) for other in found) for item in wanted
        )
    return bool(wanted == found)


def _operations(leaf: Leaf) -> Iterator[dict[str, Any]]:
    value, path = leaf.value, leaf.pointer
    others: tuple[Any, ...] = ()
    if isinstance(value, bool):
        others = (not value,)
    elif isinstance(value, (int, float)):
        others = (value + 1, value - 1, value * 2)
    elif isinstance(value, str):
        others = (f"{value}x", *(word for word in _WORDS if word != value))
    for other in others:
        yield {"op": "replace", "path": path, "value": other}
    yield {"op": "remove", "path": path}


def _walk(value: Any, path: Path) -> Iterator[Leaf]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _walk(item, (*path, number))
    else:
        yield Leaf(path, value)
