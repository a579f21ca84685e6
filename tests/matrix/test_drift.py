"""Somebody changes any field of any child: it is put right, by one write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from factories import a_gateway, a_runtime
from igw_operator import kinds
from igw_operator.plan.children import build_children
from igw_operator.plan.inputs import Capabilities, PlanInput
from integration.cluster import Manifest, Write, wait_for
from integration.conftest import Place
from matrix import oracles
from matrix.drift import change, covers, desired_children, leaves
from matrix.rig import WAIT_SECONDS, Rig

_PLAN: Final = PlanInput(
    gateway=a_gateway(),
    runtime=a_runtime(),
    capabilities=Capabilities(service_monitors=True, prometheus_rules=True),
)
CHILDREN: Final = [(it["kind"], it["metadata"]["name"]) for it in build_children(_PLAN)]
_EACH_CHILD: Final = pytest.mark.parametrize(
    "child", CHILDREN, ids=[" ".join(it) for it in CHILDREN]
)
# These name an item of the list: changed, it is another one, which is first taken over.
_TWO_WRITES: Final = re.compile(r"/spec/ports/\d/(port|protocol)")


@pytest.mark.case(22, "O1 O3 O5")
@_EACH_CHILD
def test_every_leaf_is_put_right(still: Rig, child: tuple[str, str]) -> None:
    """Each field in turn, in a way that the API server accepts; one write each, none after."""
    kind, name = child
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    wanted = desired_children(place)[child]
    before = oracles.content(place.must_get(kind, name))
    changed: dict[str, int] = {}
    for leaf in leaves(wanted):
        with place.recording() as written:
            if not change(place, kind, name, leaf):
                continue
            _wait_repaired(place, kind, name, before, leaf.pointer)
            still.cluster.wait_settled(place.namespace, 0.3, WAIT_SECONDS)
        changed[leaf.pointer] = len(_of(written, kind, name))
    most = {pointer: 2 if _TWO_WRITES.fullmatch(pointer) else 1 for pointer in changed}
    wrong = {pointer: count for pointer, count in changed.items() if count > most[pointer]}
    assert changed, "no field of it can drift"
    assert wrong == {}, "O3: not one write each"
    oracles.check_quiet(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(22, "O1 O3 O5")
@pytest.mark.parametrize("how", ["deleted", "ownerReferences stripped", "managedFields cleared"])
@_EACH_CHILD
def test_a_child_is_mistreated(still: Rig, child: tuple[str, str], how: str) -> None:
    """Gone, orphaned, or with its history of owners erased: at most one write, and it is right."""
    kind, name = child
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    with place.recording() as written:
        _MISTREATMENTS[how](place, kind, name)
        oracles.check_end_state(place, reference.state)
        still.settled(place)
        oracles.check_end_state(place, reference.state)
    assert len(_of(written, kind, name)) == (0 if how.startswith("managed") else 1)
    oracles.check_process(still.operator, mark)


def _delete(place: Place, kind: str, name: str) -> None:
    place.cluster.delete(kind, place.namespace, name)


def _orphan(place: Place, kind: str, name: str) -> None:
    patch = {"metadata": {"ownerReferences": None}}
    place.cluster.patch(kind, place.namespace, name, patch)


def _clear(place: Place, kind: str, name: str) -> None:
    patch: Manifest = {"metadata": {"managedFields": [{}]}}
    place.cluster.patch(kind, place.namespace, name, patch)


_MISTREATMENTS: Final[dict[str, Callable[[Place, str, str], None]]] = {
    "deleted": _delete,
    "ownerReferences stripped": _orphan,
    "managedFields cleared": _clear,
}


def _of(written: list[Write], kind: str, name: str) -> list[Write]:
    plural = kinds.CHILD_BY_KIND[kind].plural
    return [it for it in written if (it.resource, it.name) == (plural, name) and it.code < 300]


def _wait_repaired(place: Place, kind: str, name: str, before: Any, what: str) -> None:
    def is_repaired() -> bool:
        now: Manifest | None = place.get(kind, name)
        return now is not None and covers(before, oracles.content(now))

    wait_for(is_repaired, f"{kind} {name}: {what} to be put right", WAIT_SECONDS, 0.02)
