"""Intermediate states: the operator dies, or its answer is lost, at each write of a first run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

from factories import a_gateway, a_runtime
from igw_operator import kinds
from igw_operator.plan.children import build_children
from igw_operator.plan.inputs import Capabilities, PlanInput
from integration.cluster import Manifest, wait_for
from integration.conftest import Place
from matrix import oracles
from matrix.calls import writes
from matrix.faults import Action, Rule, after_commit, before_commit, hang_after_commit, lose
from matrix.rig import WAIT_SECONDS, Reference, Rig

Target = tuple[str, str, str]
_PLAN: Final = PlanInput(
    gateway=a_gateway(),
    runtime=a_runtime(),
    capabilities=Capabilities(service_monitors=True, prometheus_rules=True),
)
# Plural, name, subresource, in the order of a first run.
WRITES: Final = [
    *(
        (kinds.child_resource(child).plural, child["metadata"]["name"], "")
        for child in build_children(_PLAN)
    ),
    (kinds.GATEWAY.plural, "photos", "status"),
]
# An edit that changes, deletes and takes out of an autoscaler's hands.
EDIT: Final[dict[str, Any]] = {
    "replicas": 2,
    "serving": {"maxBatch": 2},
    "networkPolicy": {"enabled": False},
    "observability": {"metrics": {"enabled": False}, "collector": {"mode": "Disabled"}},
}
_EDITED: Final = replace(_PLAN, gateway=a_gateway(**EDIT))


def _name(child: Manifest) -> tuple[str, str]:
    return kinds.child_resource(child).plural, child["metadata"]["name"]


def _edits() -> Iterator[Target]:
    before, after = (
        {
            (kinds.child_resource(it).plural, it["metadata"]["name"]): it
            for it in build_children(plan)
        }
        for plan in (_PLAN, _EDITED)
    )
    for plural, name in before:
        if before[plural, name] != after.get((plural, name)):
            yield plural, name, ""
    yield kinds.GATEWAY.plural, "photos", "status"


def _params(targets: Sequence[Target]) -> Iterator[ParameterSet]:
    """Deployment and status stand for all where the whole matrix is not asked for."""
    for target in targets:
        is_core = target in {
            ("deployments", "photos", ""),
            (kinds.GATEWAY.plural, "photos", "status"),
        }
        marks = [pytest.mark.core] if is_core else []
        yield pytest.param(target, id=" ".join(filter(None, target)), marks=marks)


EDITS: Final = list(_edits())
_EACH_EDIT: Final = pytest.mark.parametrize("write", list(_params(EDITS)))
_EACH_WRITE: Final = pytest.mark.parametrize("write", list(_params(WRITES)))


def test_the_reference_run_is_the_list_that_is_exhausted(still: Rig) -> None:
    """Every write of a run without faults is one of those that the cases below hit."""
    listed = {"/".join(filter(None, (plural, sub))) + f" {name}" for plural, name, sub in WRITES}
    made = {f"{resource} {name}" for _, resource, name in still.reference.writes}
    assert made == listed


@pytest.mark.case(1, "O1 O2 O3 O4 O5 O7")
@_EACH_WRITE
def test_killed_before_a_write(still: Rig, write: Target) -> None:
    """The process dies with the request on its lips; the next one does what was left to do."""
    _kill_at(still, write, before_commit(still.operator.kill))


@pytest.mark.case(2, "O1 O2 O3 O4 O5 O7")
@_EACH_WRITE
def test_killed_after_a_write(still: Rig, write: Target) -> None:
    """The request was carried out and nobody lives to hear of it; it is not repeated."""
    _kill_at(still, write, after_commit(still.operator.kill))


def test_the_reference_edit_is_the_list_that_is_exhausted(still: Rig) -> None:
    """As above, for an edit: what is written again, and what is deleted."""
    listed = {"/".join(filter(None, (plural, sub))) + f" {name}" for plural, name, sub in EDITS}
    made = {f"{resource} {name}" for _, resource, name in _edited(still).writes}
    assert made == listed
    assert len([verb for verb, *_ in _edited(still).writes if verb == "delete"]) >= 5


@pytest.mark.case(1, "O1 O2 O3 O4 O5")
@_EACH_EDIT
def test_killed_before_a_write_of_an_edit(still: Rig, write: Target) -> None:
    """Half of an edit is in place when it dies; the next one does the other half."""
    _kill_at_edit(still, write, before_commit(still.operator.kill))


@pytest.mark.case(2, "O1 O2 O3 O4 O5")
@_EACH_EDIT
def test_killed_after_a_write_of_an_edit(still: Rig, write: Target) -> None:
    """Changed or deleted, and nobody lives to hear of it; nothing is done twice."""
    _kill_at_edit(still, write, after_commit(still.operator.kill))


@pytest.mark.case(3, "O1 O2 O3 O4 O5 O7")
@pytest.mark.parametrize(
    "act", [lose, hang_after_commit(8)], ids=["the connection breaks", "nothing comes"]
)
@_EACH_WRITE
def test_the_answer_is_lost(still: Rig, write: Target, act: Action) -> None:
    """The operator cannot know whether it wrote; it looks, and writes nothing twice."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    with place.recording() as written, _fault(still, place, write, act) as rule:
        place.apply()
        wait_for(lambda: rule.hits, "the fault to strike", WAIT_SECONDS)
        _converge(still, place)
    # A connection that breaks is tried once more at once: an apply that changes nothing.
    repeats = {write[0]} if act is lose else set()
    oracles.check_writes(written, reference.writes, reports=3, repeats=repeats)
    oracles.check_safety(written)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(1, "O2")
@pytest.mark.case(2, "O2")
def test_three_resyncs_later_all_is_quiet(still: Rig) -> None:
    """After everything that happened here, sixteen seconds without a single write."""
    oracles.stay(6)  # the runtime's report follows its gateways by some seconds
    start = len(still.cluster.writes())
    oracles.stay(16)
    late = [it for it in still.cluster.writes()[start:] if it.is_operator]
    assert late == []


def _kill_at(rig: Rig, write: Target, act: Action) -> None:
    reference = rig.reference
    place, mark = rig.place(), rig.operator.mark()
    with place.recording() as written:
        with _fault(rig, place, write, act) as rule:
            place.apply()
            wait_for(lambda: rule.hits, "the fault to strike", WAIT_SECONDS)
            wait_for(lambda: not rig.operator.is_alive(), "it to be dead", WAIT_SECONDS)
        rig.operator.start()
        _converge(rig, place)
    oracles.check_writes(written, reference.writes)
    oracles.check_safety(written)
    oracles.check_process(rig.operator, mark)


def _kill_at_edit(rig: Rig, write: Target, act: Action) -> None:
    reference = _edited(rig)
    place, mark = rig.place(), rig.operator.mark()
    rig.make(place)
    with place.recording() as written:
        with _fault(rig, place, write, act) as rule:
            place.apply(**EDIT)
            wait_for(lambda: rule.hits, "the fault to strike", WAIT_SECONDS)
            wait_for(lambda: not rig.operator.is_alive(), "it to be dead", WAIT_SECONDS)
        rig.operator.start()
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        rig.settled(place)
    oracles.check_truth(place)
    oracles.check_writes(written, reference.writes)
    oracles.check_process(rig.operator, mark)


def _edited(rig: Rig) -> Reference:
    """The same edit when nothing goes wrong; made once for each stage."""
    place = rig.kept_place("edited")
    if place.get("InferenceGateway") is None:
        rig.make(place)
        with place.recording() as writes:
            rig.make(place, **EDIT)
        rig.references["edited"] = Reference(
            state=oracles.end_state(place), writes=oracles.ledger(writes)
        )
    return rig.references["edited"]


def _converge(rig: Rig, place: Place) -> None:
    oracles.check_end_state(place, rig.reference.state, WAIT_SECONDS)
    rig.settled(place)
    oracles.check_truth(place)


def _fault(rig: Rig, place: Place, write: Target, act: Action) -> AbstractContextManager[Rule]:
    plural, name, subresource = write
    return rig.proxy.fault(writes(place.namespace, plural, name, subresource), act, times=1)
