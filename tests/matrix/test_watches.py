"""What the operator is not told, told late, or told twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration.cluster import Manifest, wait_for
from integration.conftest import Place
from matrix import oracles
from matrix.calls import event_of, watches
from matrix.faults import Action, Gate, drop, duplicate, hold, raw, replay, swallow, watch_error
from matrix.rig import WAIT_SECONDS, Rig
from matrix.server import compact


@pytest.mark.core
@pytest.mark.case(5, "O1 O2 O4 O5")
def test_an_edit_and_its_reverse_behind_a_held_watch(still: Rig) -> None:
    """A→B→A arrives late and at once; it ends as A, quietly, with the newest generation."""
    reference = still.reference
    place, gate, mark = still.place(), Gate(), still.operator.mark()
    still.make(place)
    held = event_of("inferencegateways", place.namespace)
    with still.proxy.event_fault(held, hold(gate)):
        place.apply(networkPolicy={"enabled": False})
        place.apply()
        gate.open()
        still.settled(place)
        oracles.check_end_state(place, reference.state)
        oracles.check_quiet(place)
    oracles.check_truth(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(5, "O1 O2 O3 O4 O5")
def test_an_edit_that_is_never_seen(still: Rig) -> None:
    """Of A→B→A only the last is told: no child is written."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    edited = event_of("inferencegateways", place.namespace)
    with place.recording() as written, still.proxy.event_fault(edited, swallow, 1) as rule:
        place.apply(networkPolicy={"enabled": False})
        place.apply()
        still.settled(place)
        assert rule.hits == 1
        oracles.check_end_state(place, reference.state)
        oracles.check_quiet(place)
    oracles.check_truth(place)
    assert [it for it in written if _is_child(it.resource)] == []
    oracles.check_process(still.operator, mark)


@pytest.mark.case(6, "O1 O3 O5")
@pytest.mark.parametrize(
    ("plural", "kind"),
    [("services", "Service"), ("deployments", "Deployment"), ("prometheusrules", "PrometheusRule")],
)
def test_a_deletion_that_is_never_told(still: Rig, plural: str, kind: str) -> None:
    """The next LIST finds that the child is gone, and one write brings it back."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    deleted = event_of(plural, place.namespace, "DELETED")
    name = next(name for found, name in place.children() if found == kind)
    with place.recording() as written, still.proxy.event_fault(deleted, swallow) as rule:
        place.cluster.delete(kind, place.namespace, name)
        wait_for(lambda: rule.hits, "the event to be swallowed", WAIT_SECONDS)
        oracles.check_end_state(place, reference.state)
        still.settled(place)
    assert [it.name for it in written if it.resource == plural] == [name]
    oracles.check_process(still.operator, mark)


@pytest.mark.core
@pytest.mark.case(7, "O1 O5")
def test_a_deletion_in_a_gap_that_ends_with_410(still: Rig) -> None:
    """The watch lists anew and never says DELETED; the child is made again all the same."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    watch = watches("services")
    with still.proxy.fault(watch, drop):
        still.proxy.break_streams(watch)
        place.cluster.delete("Service", place.namespace, "photos")
        with still.proxy.fault(watch, watch_error(410)):
            oracles.check_end_state(place, reference.state)
    still.settled(place)
    oracles.check_end_state(place, reference.state)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(8, "O1 O4 O5 O7")
def test_a_gateway_of_the_same_name_made_in_a_gap(lively: Rig) -> None:
    """The new one gets children of its own, and the operator deletes nothing."""
    place, mark = lively.place(), lively.operator.mark()
    lively.make(place)
    state, before = oracles.end_state(place), _uid(place)
    watch = watches("inferencegateways")
    with place.recording() as written:
        with lively.proxy.fault(watch, drop):
            lively.proxy.break_streams(watch)
            place.cluster.delete("InferenceGateway", place.namespace, "photos")
            place.apply()
        assert _uid(place) != before
        wait_for(
            lambda: _owners(place) == {_uid(place)},
            "every child to be the new gateway's",
            WAIT_SECONDS,
        )
        oracles.check_end_state(place, state, WAIT_SECONDS)
        lively.settled(place)
    oracles.check_truth(place)
    oracles.check_safety(written)
    oracles.check_process(lively.operator, mark)


@pytest.mark.case(10, "O1 O3 O5 O7")
@pytest.mark.parametrize(
    "plural", ["deployments", "services", "configmaps", "inferencegateways", "prometheusrules"]
)
def test_one_watch_lags(still: Rig, plural: str) -> None:
    """Eight seconds behind: made and edited meanwhile, each child is written once for each."""
    place, gate, mark = still.place(), Gate(), still.operator.mark()
    reference = still.reference
    late, count = event_of(plural, place.namespace), len(reference.state["children"])
    with place.recording() as written, still.proxy.event_fault(late, hold(gate)):
        place.apply()
        wait_for(lambda: len(place.children()) >= count, "all children", WAIT_SECONDS)
        oracles.stay(8)
        gate.open()
        still.settled(place)
        oracles.check_end_state(place, reference.state)
    oracles.check_writes(written, reference.writes, reports=2)
    oracles.check_safety(written)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(12, "O1 O2 O3 O5")
@pytest.mark.parametrize(
    "act", [lambda: duplicate, replay], ids=["three times", "with the old ones again"]
)
def test_events_that_come_again(still: Rig, act: Callable[[], Any]) -> None:
    """Old news is no news: not one write more than without."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    with still.proxy.event_fault(event_of("", place.namespace), act()):
        with place.recording() as written:
            still.make(place)
        oracles.check_writes(written, reference.writes)
        with place.recording() as written:
            place.cluster.delete("Service", place.namespace, "photos")
            oracles.check_end_state(place, reference.state)
            still.settled(place)
        oracles.check_quiet(place)
    assert [it.resource for it in written if _is_child(it.resource)] == ["services"]
    oracles.check_end_state(place, reference.state)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(20, "O1 O5 O6")
@pytest.mark.parametrize(
    ("act", "times", "may_exit"),
    [
        pytest.param(watch_error(410), 100, False, id="ERROR 410 a hundred times"),
        pytest.param(raw(b""), 30, False, id="an end without a word, thirty times"),
        pytest.param(watch_error(500), 1, True, id="ERROR 500"),
        pytest.param(raw(b'{"type": "MODIFIED", "obj'), 1, True, id="truncated JSON"),
    ],
)
def test_watches_that_fail(still: Rig, act: Action, times: int, *, may_exit: bool) -> None:
    """However a watch ends, the operator watches on, or ends and is started again."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    start = oracles.now()
    with still.proxy.fault(watches(), act, times) as rule:
        still.proxy.break_streams(watches())
        place.cluster.delete("Service", place.namespace, "photos")
        wait_for(lambda: rule.left == 0, "the faults to be used up", WAIT_SECONDS)
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
    still.settled(place)
    oracles.stay(max(6, start + 10 - oracles.now()))  # a rate of less time is one of a burst
    oracles.check_rate(still.proxy.since(start), oracles.now() - start, 40)
    wait_for(still.operator.is_healthy, "O5: it to watch again", 60)
    oracles.check_process(still.operator, mark, may_exit=may_exit)


@pytest.mark.case(20, "O1 O2 O5")
def test_watches_without_bookmarks(still: Rig) -> None:
    """Not one bookmark, then a compaction: each kind is at a version that is long forgotten."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    bookmarks = still.proxy.event_fault(lambda _, event: event["type"] == "BOOKMARK", swallow)
    with bookmarks:
        still.proxy.break_streams(watches())
        still.make(place)
        for batch in (2, 3, 4):
            still.make(place, serving={"maxBatch": batch})
        version = int(place.apply()["metadata"]["resourceVersion"])
        still.settled(place)
        compact(still.plane, version)
        still.proxy.break_streams(watches())
        place.cluster.delete("Service", place.namespace, "photos")
        oracles.check_end_state(place, reference.state)
        oracles.check_quiet(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(20, "O1 O5 O6")
def test_watches_that_say_nothing(still: Rig) -> None:
    """Half-open streams: no event, no end; the LISTs alone keep the cluster right."""
    reference = still.reference
    place, gate, mark = still.place(), Gate(), still.operator.mark()
    still.make(place)
    with still.proxy.event_fault(lambda *_: True, hold(gate)):
        place.cluster.delete("Service", place.namespace, "photos")
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        gate.open()
    still.settled(place)
    oracles.check_process(still.operator, mark)


def _uid(place: Place) -> str:
    return str(place.gateway()["metadata"]["uid"])


def _owners(place: Place) -> set[str]:
    children: list[Manifest] = list(place.children().values())
    return {oracles.owner_uid(child) for child in children}


def _is_child(resource: str) -> bool:
    return resource not in {"events", "inferencegateways"}
