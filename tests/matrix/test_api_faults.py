"""The API server refuses, stumbles, is slow, or is gone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from integration.cluster import Manifest, RefusedError, wait_for
from integration.conftest import Place
from matrix import oracles
from matrix.calls import Call, everything, everything_but_leases, writes
from matrix.faults import by_chance, drip, drop, refusal, slow
from matrix.process import token_of
from matrix.rig import WAIT_SECONDS, Rig, a_rig
from matrix.rights import shipped_rights, without

# A permanent fault meets this many requests a second at most, all kinds and gateways together.
_MOST_A_SECOND: Final = 12
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_POLICIES: Final = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


@pytest.mark.case(13, "O1 O3 O5 O6")
def test_too_many_requests(still: Rig) -> None:
    """For two minutes everything but the lease is told to come back in thirty seconds, and does."""
    reference, seconds, pause = still.reference, 120.0, 30
    place, mark = still.place(), still.operator.mark()
    start = oracles.now()
    with place.recording() as written:
        act = refusal(429, "TooManyRequests", retry_after=pause)
        with still.proxy.fault(everything_but_leases, act):
            still.proxy.break_streams(everything_but_leases)
            place.apply()
            oracles.stay(seconds)
            asked = [it for it in still.proxy.since(start) if not it.is_lease]
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
    oracles.check_rate(asked, seconds, _MOST_A_SECOND)
    # What is ours asks each thing once, and once more after each pause. Optional APIs are looked
    # for all the time, and watches have a patience of their own.
    ours = (it for it in asked if it.plural and not it.is_watch and _is_ours(it))
    often = Counter(f"{it.method} {it.path}" for it in ours)
    assert often, "the operator asked for nothing"
    most = seconds / pause + 2
    assert {path: count for path, count in often.items() if count > most} == {}, "O6: came early"
    oracles.check_writes(written, reference.writes, reports=3)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(14, "O1 O3 O4 O5")
def test_many_requests_fail(still: Rig) -> None:
    """500 or 503 for thirty of a hundred, while a gateway is made, edited and mistreated.

    What is refused is told by turns, so that there are more reports than of a single fault.
    """
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    act = by_chance(0.3, refusal(500), refusal(503))
    with place.recording() as written:
        with still.proxy.fault(everything, act) as rule:
            still.proxy.break_streams(everything)
            place.apply()
            oracles.check_end_state(place, reference.state, 180)
        still.settled(place)
    oracles.check_writes(written, reference.writes, reports=16)
    with still.proxy.fault(everything, act) as again:
        still.proxy.break_streams(everything)
        place.apply(networkPolicy={"enabled": False}, replicas=2)
        wait_for(lambda: place.get("HorizontalPodAutoscaler") is None, "the edit", 180)
        place.apply()
        place.cluster.delete("Service", place.namespace, "photos")
        oracles.check_end_state(place, reference.state, 180)
    assert rule.hits > 30
    assert again.hits > 30
    still.settled(place)
    oracles.check_truth(place)
    # The lease may go unrenewed; then another life begins.
    oracles.check_process(still.operator, mark, may_exit=True)


@pytest.mark.case(15, "O1 O3 O4 O5 O6")
def test_no_api_server_for_half_a_minute(still: Rig) -> None:
    """The lease is lost on purpose; afterwards all that was missed is made up for."""
    _live_through_an_outage(still, 30.0)


@pytest.mark.case(31, "O1 O3 O4 O5 O6")
@pytest.mark.long
@pytest.mark.parametrize("minutes", [5, 15])
def test_no_api_server_for_long(tmp_path: Path, minutes: int) -> None:
    """Longer than any patience: process after process gives up, and the last one makes it good."""
    with a_rig(tmp_path, controllers=False) as rig:
        _live_through_an_outage(rig, minutes * 60.0)


def _live_through_an_outage(rig: Rig, seconds: float) -> None:
    reference = rig.reference
    place, mark = rig.place(), rig.operator.mark()
    rig.make(place)
    start = oracles.now()
    with place.recording() as written:
        with rig.proxy.fault(everything, drop):
            rig.proxy.break_streams(everything)
            place.cluster.delete("Service", place.namespace, "photos")
            place.apply(serving={"maxBatch": 2})
            place.apply()
            oracles.stay(seconds)
            oracles.check_rate(rig.proxy.since(start), seconds, _MOST_A_SECOND)
        back = oracles.now()
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        assert oracles.now() - back < WAIT_SECONDS
        rig.settled(place)
    oracles.check_truth(place)
    children = [it for it in written if it.resource not in {"events", "inferencegateways"}]
    assert [it.resource for it in children if it.code < 300] == ["services"]
    oracles.check_process(rig.operator, mark, may_exit=True)


@pytest.mark.core
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
    with without(still, *(it for it in shipped_rights() if it.resource == "networkpolicies")):
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
            siblings = len(reference.state["children"]) - 1
            wait_for(lambda: len(place.children()) >= siblings, "the siblings", WAIT_SECONDS)
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


@pytest.mark.case(18, "O1 O3 O4 O5 O6")
def test_a_quota_leaves_no_room(lively: Rig) -> None:
    """A real ResourceQuota admits no Service: the rest is made, and the status quotes it."""
    place, mark = lively.place(), lively.operator.mark()
    quota: Manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": place.namespace},
        "spec": {"hard": {"services": "0"}},
    }
    lively.cluster.create(quota)
    path = f"/api/v1/namespaces/{place.namespace}/resourcequotas/few"
    wait_for(
        lambda: lively.cluster.request("GET", path).get("status", {}).get("hard"),
        "the quota to be counted",
        WAIT_SECONDS,
    )
    with place.recording() as written:
        place.apply()
        _check_refused(lively, place, "Service photos", "exceeded quota: few")
        oracles.check_quiet(place, 4)
    made = {kind for kind, _ in place.children()}
    assert {"Deployment", "ConfigMap", "HorizontalPodAutoscaler"} <= made
    assert "Service" not in made
    refused = [it for it in written if it.resource == "services"]
    assert len(refused) <= 30, "O6: tries again and again"
    lively.cluster.request("DELETE", path)
    wait_for(lambda: place.get("Service"), "the Service to be made", WAIT_SECONDS)
    lively.settled(place)
    oracles.check_process(lively.operator, mark)


@pytest.mark.case(18, "O1 O3 O4 O5 O6")
def test_a_policy_denies_a_child(still: Rig) -> None:
    """A real ValidatingAdmissionPolicy denies Deployments: the rest is made."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    words = "deployments rest on this day"
    for manifest in _policy(place.namespace, words):
        still.cluster.request("POST", f"{_ADMISSION}/{_POLICIES[manifest['kind']]}", manifest)
    probe = {"metadata": {"name": "probe", "namespace": place.namespace}}
    wait_for(lambda: _is_denied(place, probe, words), "the policy to be in force", WAIT_SECONDS)
    with place.recording() as written:
        place.apply()
        _check_refused(still, place, "Deployment photos", words)
        assert place.get("Service") is not None
        before = oracles.now()
        oracles.stay(10)
        late = [
            it for it in still.proxy.since(before) if it.plural == "deployments" and it.is_write
        ]
        assert len(late) <= 8, "O6: tries again and again"
        binding = _POLICIES["ValidatingAdmissionPolicyBinding"]
        still.cluster.request("DELETE", f"{_ADMISSION}/{binding}/{place.namespace}")
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
    oracles.check_writes(written, reference.writes, reports=4)
    oracles.check_process(still.operator, mark)


@pytest.mark.core
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


@pytest.mark.case(21, "O1 O3 O4 O5")
def test_answers_come_byte_by_byte(still: Rig) -> None:
    """One byte a second: no answer is ever whole, each write was carried out all the same."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    with place.recording() as written:
        with still.proxy.fault(lambda it: not it.is_lease and not it.is_watch, drip(1.0)) as rule:
            place.apply()
            oracles.stay(30)
            assert rule.hits > 5
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
    oracles.check_truth(place)
    children = {"services", "configmaps", "serviceaccounts", "networkpolicies", "deployments"}
    oracles.check_writes(written, reference.writes, reports=4, repeats=children)
    oracles.check_process(still.operator, mark)


def _check_refused(rig: Rig, place: Place, child: str, words: str) -> None:
    """Until the status names the child and the reason."""

    def says_so() -> bool:
        message = place.condition("Ready").get("message", "")
        return child in message and words in message

    wait_for(says_so, f"Ready to name {child} and {words!r}", WAIT_SECONDS)
    rig.settled(place)
    assert place.condition("Ready")["status"] == "False"
    oracles.check_truth(place)


def _policy(namespace: str, words: str) -> list[Manifest]:
    """A policy against Deployments in one namespace, and its binding."""
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": namespace}}
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    policy: Manifest = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": words}],
    }
    labels = {"kubernetes.io/metadata.name": namespace}
    binding: Manifest = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": labels}},
    }
    return [
        version | {"kind": "ValidatingAdmissionPolicy", "spec": policy},
        version | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


def _is_denied(place: Place, probe: Manifest, words: str) -> bool:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    spec: Manifest = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec} | probe
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments"
    try:
        place.cluster.request("POST", path, manifest, dryRun="All")
    except RefusedError as error:
        return words in error.message
    return False


def _is_ours(call: Call) -> bool:
    return call.agent.startswith("igw-operator/")
