"""The operator ends in a burst of work; the API server restarts, forgets, and shows the past."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import pytest
import yaml

from igw_operator import kinds
from integration.cluster import RefusedError, Write, wait_for
from integration.conftest import Place
from integration.operator_process import ROOT
from matrix import oracles
from matrix.calls import Call, everything, writes
from matrix.faults import Answer, Exchange, Gate, Then, hold, slow
from matrix.rig import WAIT_SECONDS, Rig
from matrix.server import compact, restart_api_server

_BURST: Final = 40


@pytest.mark.case(4, "O1 O3 O4 O5 O7")
def test_ended_in_a_burst(still: Rig) -> None:
    """SIGTERM with most of forty gateways still to do: an orderly end, and no write done twice."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    names = [f"g{number:02}" for number in range(_BURST)]
    all_children = _BURST * len(reference.state["children"])
    with place.recording() as written:
        with still.proxy.fault(writes(place.namespace), slow(0.5)):
            for name in names:
                place.apply(name)
            wait_for(place.children, "the first children", WAIT_SECONDS)
            assert still.operator.stop() == 0
            assert len(place.children()) < all_children, "all was done before the end"
        still.operator.start()
        for name in names:
            wait_for(functools.partial(still.is_judged, place, name), name, 240)
        place.cluster.wait_settled(place.namespace, 3, 240)
    assert len(place.children()) == all_children
    for name in names:
        oracles.check_truth(place, name)
        found = oracles.end_state(place, name)["conditions"]
        assert found == reference.state["conditions"]
    reports = {"events", "inferencegateways/status"}
    twice = {
        key: n for key, n in oracles.ledger(written).items() if key[1] not in reports and n > 1
    }
    assert twice == {}, "O3: a child was written twice"
    oracles.check_safety(written)
    oracles.check_process(still.operator, mark)


@pytest.mark.core
@pytest.mark.case(11, "O1 O3 O5 O7")
def test_a_restart_into_the_past(still: Rig) -> None:
    """Every LIST shows yesterday, the gateway's watch is last to catch up: nothing is undone."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place, networkPolicy={"enabled": False}, replicas=2, serving={"maxBatch": 2})
    past = _remember_lists(still)
    still.make(place)
    oracles.check_end_state(place, reference.state)
    versions = _versions(place)
    with _in_the_past(still, past, "inferencegateways", place) as written:
        assert _versions(place) == versions, "O7: something of the present is gone"
    oracles.check_end_state(place, reference.state, WAIT_SECONDS)
    still.settled(place)
    assert _versions(place) == versions, "O7: something went back, if only for a moment"
    oracles.check_safety(written)
    oracles.check_truth(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(11, "O1 O3 O5 O7")
def test_a_restart_before_a_new_image(still: Rig) -> None:
    """The runtime of yesterday names an image that nobody runs any more: no pod goes back."""
    place, mark = still.place(), still.operator.mark()
    runtime = still.cluster.must_get("InferenceRuntime", "", "default")
    still.make(place)
    past = _remember_lists(still)
    # At once: gateways of other tests would have this one wait for its wave.
    new = {"image": "igw.dev/new:2", "rollout": {"waves": [{"percent": 100}]}}
    try:
        still.cluster.patch("InferenceRuntime", "", "default", {"spec": new})
        wait_for(lambda: _image(place) == "igw.dev/new:2", "the new image", WAIT_SECONDS)
        still.settled(place)
        versions = _versions(place)
        with _in_the_past(still, past, "inferenceruntimes", place):
            assert _image(place) == "igw.dev/new:2"
        still.settled(place)
        assert _versions(place) == versions, "O7: something went back, if only for a moment"
    finally:
        former = {"rollout": None} | runtime["spec"]
        still.cluster.patch("InferenceRuntime", "", "default", {"spec": former})
        wait_for(lambda: _image(place) == runtime["spec"]["image"], "the old image", WAIT_SECONDS)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(30, "O1 O2 O5")
def test_the_api_server_restarts(still: Rig) -> None:
    """For some seconds nothing answers; what changed around it is made good."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    place.cluster.delete("Service", place.namespace, "photos")
    restart_api_server(still.plane)
    wait_for(lambda: _answers(place), "the API server to be back", WAIT_SECONDS)
    oracles.check_end_state(place, reference.state, WAIT_SECONDS)
    oracles.check_quiet(place)
    oracles.check_process(still.operator, mark, may_exit=True)


@pytest.mark.case(30, "O1 O2 O5")
def test_the_history_is_compacted(still: Rig) -> None:
    """Watches resume at a version that etcd has forgotten: a real 410."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    version = int(place.apply(serving={"maxBatch": 2})["metadata"]["resourceVersion"])
    still.settled(place)
    compact(still.plane, version)
    still.proxy.break_streams(everything)
    place.cluster.delete("Service", place.namespace, "photos")
    place.apply()
    oracles.check_end_state(place, reference.state)
    still.settled(place)
    oracles.check_quiet(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(30, "O1 O2 O5")
def test_the_crd_is_upgraded(still: Rig) -> None:
    """A field more in the schema: no write, no gap, and the next edit is followed."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place, serving={"maxBatch": 2})
    crd: dict[str, Any] = yaml.safe_load((ROOT / "crds" / "inferencegateways.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["future"] = {"type": "string"}
    with place.recording() as written:
        still.cluster.apply(crd)
        oracles.stay(8)
    assert written == []
    place.apply()
    oracles.check_end_state(place, reference.state)
    oracles.check_process(still.operator, mark)


def _remember_lists(rig: Rig) -> dict[str, Answer]:
    """What a LIST of each kind shows now, by its path."""
    past: dict[str, Answer] = {}

    async def remember(exchange: Exchange) -> Answer:
        past[exchange.call.path] = await exchange.forward()
        return past[exchange.call.path]

    with rig.proxy.fault(_is_plain_list, remember):
        wait_for(lambda: len(past) >= len(kinds.WATCHED), "a LIST of every kind", WAIT_SECONDS)
    return past


@contextmanager
def _in_the_past(
    rig: Rig, past: dict[str, Answer], latest: str, place: Place
) -> Iterator[list[Write]]:
    """Restart the operator before lists of the past; at the end one kind catches up last.

    The block runs while nothing at all has caught up; the writes are those of the whole time.
    """
    gate, late = Gate(), Gate()

    async def show_the_past(exchange: Exchange) -> Answer | Then:
        return past.get(exchange.call.path, Then.PASS)

    rig.operator.kill()
    with (
        place.recording() as written,
        rig.proxy.fault(_is_plain_list, show_the_past),
        rig.proxy.event_fault(lambda call, _: call.plural == latest, hold(late)),
        rig.proxy.event_fault(lambda *_: True, hold(gate)),
    ):
        rig.operator.start()
        oracles.stay(12)
        yield written
        gate.open()
        oracles.stay(3)
    late.open()
    rig.proxy.break_streams(everything)


def _image(place: Place) -> str:
    pod = place.must_get("Deployment")["spec"]["template"]["spec"]
    return str(pod["containers"][0]["image"])


def _is_plain_list(call: Call) -> bool:
    return call.is_list and not call.namespace and call.group != "apiextensions.k8s.io"


def _versions(place: Place) -> dict[tuple[str, str], str]:
    """Of every child; an apply that changes nothing leaves them as they are."""
    return {key: child["metadata"]["resourceVersion"] for key, child in place.children().items()}


def _answers(place: Place) -> bool:
    try:
        place.gateway()  # what a CRD defines is there last
    except (RefusedError, httpx.TransportError):
        return False
    return True
