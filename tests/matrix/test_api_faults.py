"""The API server refuses, stumbles, is slow, or is gone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest
import yaml

from integration.cluster import OPERATOR_USER, Manifest, wait_for
from integration.operator_process import ROOT
from matrix import oracles
from matrix.calls import Call, everything, everything_but_leases, writes
from matrix.faults import Action, Answer, Exchange, Then, drop, refusal, slow
from matrix.process import token_of
from matrix.rig import WAIT_SECONDS, Rig

# A permanent fault meets this many requests a second at most, all kinds and gateways together.
_MOST_A_SECOND: Final = 12


@pytest.mark.case(13, "O1 O3 O5 O6")
def test_too_many_requests(still: Rig) -> None:
    """For twenty seconds everything but the lease is told to come back in ten."""
    reference, seconds = still.reference, 20.0
    place, mark = still.place(), still.operator.mark()
    start = oracles.now()
    with place.recording() as written:
        act = refusal(429, "TooManyRequests", retry_after=10)
        with still.proxy.fault(everything_but_leases, act):
            still.proxy.break_streams(everything_but_leases)
            place.apply()
            oracles.stay(seconds)
            oracles.check_rate(still.proxy.since(start), seconds, _MOST_A_SECOND)
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
    oracles.check_writes(written, reference.writes, reports=3)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(14, "O1 O3 O4 O5")
def test_a_third_of_all_requests_fails(still: Rig) -> None:
    """By turns 500 and 503; it takes longer, is told by turns, and comes to the same."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    with place.recording() as written:
        with still.proxy.fault(everything, _a_third()) as rule:
            still.proxy.break_streams(everything)
            place.apply()
            oracles.check_end_state(place, reference.state, 180)
            assert rule.hits > 30
        still.settled(place)
    oracles.check_truth(place)
    oracles.check_writes(written, reference.writes, reports=16)
    # The lease may go unrenewed; then another life begins.
    oracles.check_process(still.operator, mark, may_exit=True)


@pytest.mark.case(15, "O1 O3 O4 O5 O6")
def test_no_api_server_for_half_a_minute(still: Rig) -> None:
    """The lease is lost on purpose; afterwards all that was missed is made up for."""
    reference, seconds = still.reference, 30.0
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    start = oracles.now()
    with place.recording() as written:
        with still.proxy.fault(everything, drop):
            still.proxy.break_streams(everything)
            place.cluster.delete("Service", place.namespace, "photos")
            place.apply(serving={"maxBatch": 2})
            place.apply()
            oracles.stay(seconds)
            oracles.check_rate(still.proxy.since(start), seconds, _MOST_A_SECOND)
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
    oracles.check_truth(place)
    children = [it for it in written if it.resource not in {"events", "inferencegateways"}]
    assert [it.resource for it in children if it.code < 300] == ["services"]
    oracles.check_process(still.operator, mark, may_exit=True)


@pytest.mark.case(16, "O1 O3 O4 O5")
def test_each_write_conflicts_once(still: Rig) -> None:
    """The first attempt at each object is a 409; the second is the last."""
    reference, seen = still.reference, set[str]()
    place, mark = still.place(), still.operator.mark()

    def first_attempt(call: Call) -> bool:
        if not writes(place.namespace)(call) or call.path in seen:
            return False
        seen.add(call.path)
        return True

    conflict = refusal(409, "Conflict")
    with place.recording() as written, still.proxy.fault(first_attempt, conflict) as rule:
        place.apply()
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
        assert rule.hits >= len(place.children())
    oracles.check_truth(place)
    oracles.check_writes(written, reference.writes, reports=8)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(17, "O1 O4 O5 O6")
@pytest.mark.parametrize("is_restarted", [False, True], ids=["at work", "restarted meanwhile"])
def test_one_kind_is_forbidden_and_allowed_again(still: Rig, *, is_restarted: bool) -> None:
    """The ClusterRole loses a kind: a condition says so, the rest is made; given back, all is."""
    reference, seconds = still.reference, 20.0
    place, mark = still.place(), still.operator.mark()
    with _without(still, "networkpolicies"):
        still.proxy.break_streams(lambda call: call.plural == "networkpolicies")
        if is_restarted:
            still.operator.kill()
            still.operator.start()
        place.apply()
        wait_for(
            lambda: place.condition("Stalled").get("reason") == "ApplyForbidden",
            "Stalled to say so",
            WAIT_SECONDS,
        )
        message = place.condition("Stalled")["message"]
        assert "networkpolicies" in message, message
        made = {kind for kind, _ in place.children()}
        assert {"Deployment", "Service", "PrometheusRule"} <= made
        oracles.check_truth(place)
        start = oracles.now()
        oracles.stay(seconds)
        oracles.check_rate(still.proxy.since(start), seconds, _MOST_A_SECOND)
    oracles.check_end_state(place, reference.state, WAIT_SECONDS)
    still.settled(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(18, "O1 O3 O4 O5 O6")
@pytest.mark.parametrize(
    ("plural", "kind"),
    [("services", "Service"), ("deployments", "Deployment"), ("serviceaccounts", "ServiceAccount")],
)
def test_one_child_is_refused_for_good(still: Rig, plural: str, kind: str) -> None:
    """Its siblings are made, the status names it, nobody hammers; allowed, it is made."""
    reference, seconds = still.reference, 15.0
    place, mark = still.place(), still.operator.mark()
    refused = writes(place.namespace, plural, "photos")
    with place.recording() as written:
        with still.proxy.fault(refused, refusal(422, "Invalid")) as rule:
            place.apply()
            wait_for(lambda: len(place.children()) >= 14, "the siblings", WAIT_SECONDS)
            wait_for(
                lambda: place.condition("Stalled").get("status") == "True", "Stalled", WAIT_SECONDS
            )
            assert kind in place.condition("Stalled")["message"]
            assert place.condition("Ready")["status"] == "False"
            oracles.check_truth(place)
            before = rule.hits
            oracles.stay(seconds)
            assert rule.hits - before <= 4, "O6: tries again and again"
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
    oracles.check_writes(written, reference.writes, reports=3)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(19, "O1 O4 O5 O6")
def test_the_token_is_rotated(still: Rig) -> None:
    """The old one is refused at once and for good; the new one is read from where it lies."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    old = token_of(still.operator.kubeconfig)
    still.operator.renew_token()
    start = oracles.now()
    with still.proxy.fault(lambda call: call.token == old, refusal(401, "Unauthorized")):
        still.proxy.break_streams(everything)
        place.apply()
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
        refused = [it for it in still.proxy.since(start) if it.token == old]
    oracles.check_truth(place)
    assert len(refused) <= 60, "O6: the old token is used again and again"
    oracles.check_process(still.operator, mark)


@pytest.mark.case(21, "O1 O3 O4 O5")
def test_everything_is_slow(still: Rig) -> None:
    """Two seconds more for each request: nothing times out, nothing is done twice."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    with place.recording() as written, still.proxy.fault(everything, slow(2.0)):
        still.proxy.break_streams(everything)
        place.apply()
        oracles.check_end_state(place, reference.state, 240)
        still.settled(place)
    oracles.check_truth(place)
    oracles.check_writes(written, reference.writes, reports=3)
    oracles.check_process(still.operator, mark)


def _a_third() -> Action:
    """A third by lot: a count would always hit the same of several requests in a row."""
    lots, codes = random.Random(14), itertools.cycle((500, 503))  # noqa: S311 - no secret

    async def act(exchange: Exchange) -> Answer | Then:
        if lots.random() > 1 / 3:
            return Then.PASS
        return await refusal(next(codes))(exchange)

    return act


@contextmanager
def _without(rig: Rig, plural: str) -> Iterator[None]:
    """Take a kind out of the shipped ClusterRole for a while."""
    file = ROOT / "manifests" / "base" / "operator-rbac.yaml"
    role = next(it for it in yaml.safe_load_all(file.read_text()) if it["kind"] == "ClusterRole")
    rules: list[Manifest] = [it for it in role["rules"] if plural not in it["resources"]]
    assert len(rules) < len(role["rules"])
    with ExitStack() as stack:
        stack.callback(rig.cluster.apply, role)
        rig.cluster.apply({**role, "rules": rules})
        wait_for(lambda: not _is_allowed(rig, plural), "the rights to be gone", WAIT_SECONDS)
        yield
    wait_for(lambda: _is_allowed(rig, plural), "the rights to be back", WAIT_SECONDS)


def _is_allowed(rig: Rig, plural: str) -> bool:
    group = "networking.k8s.io"
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": OPERATOR_USER,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {"group": group, "resource": plural, "verb": "list"},
        },
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(rig.cluster.request("POST", path, review)["status"]["allowed"])
