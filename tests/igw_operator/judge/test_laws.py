"""What holds of every status, whatever the world looks like: found by random worlds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import with_drill
from igw_operator.api.objects import Manifest
from igw_operator.errors import FieldError, SpecError
from igw_operator.judge.events import transitions
from igw_operator.judge.snapshot import DrillReading, Reading, SloReading, Snapshot
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities
from kstatus import SAYS, KStatus, kstatus, true_conditions
from plan_kit.children import PODS_METRICS
from scenes import (
    AUTOSCALER,
    DEPLOYMENT,
    NOW,
    OLD_HASH,
    SCALED_OBJECT,
    a_failure,
    a_pod,
    a_snapshot,
    autoscaler_conditions,
    condition,
    condition_of,
    crashed,
    progressing,
    ready_of,
    running,
    waiting,
    with_child,
)

COUNT = st.integers(0, 4)
CONTAINERS = st.sampled_from(
    [
        None,
        running(),
        running(ready=False),
        waiting("ContainerCreating"),
        waiting("ErrImagePull", "not found"),
        crashed(66, "ModelNotFound: no package"),
        crashed(137, "", "OOMKilled"),
        crashed(1),
    ]
)
CONDITIONS = st.sampled_from(
    [
        [],
        [progressing()],
        [progressing("ReplicaSetUpdated")],
        [progressing("ProgressDeadlineExceeded", "False")],
        [condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: tiny")],
    ]
)
AUTOSCALERS = st.sampled_from(
    [
        None,
        [],
        autoscaler_conditions(),
        autoscaler_conditions(ScalingActive=("False", "FailedGetResourceMetric", "none")),
    ]
)
FAILURES = st.sampled_from(
    [
        (),
        (a_failure("Deployment", 503, "later"),),
        (a_failure("ServiceMonitor", 422, "bad"),),
        (a_failure("Service", 409, "not ours", foreign=True),),
    ]
)
CAPABILITIES = st.builds(
    Capabilities,
    service_monitors=st.booleans(),
    prometheus_rules=st.booleans(),
    custom_metrics=st.booleans(),
    pods_metrics=st.sampled_from([frozenset(), PODS_METRICS]),
    scaled_objects=st.booleans(),
)
NUMBERS = st.none() | st.floats(-3, 1)
SLOS = st.tuples(
    *(
        st.builds(
            SloReading,
            name=st.just(name),
            is_recorded=st.booleans(),
            budget_remaining=NUMBERS,
            burn_rate=NUMBERS,
            coverage=NUMBERS,
        )
        for name in ("availability", "latency")
    )
)
READINGS = st.none() | st.builds(
    Reading,
    server=st.sampled_from(["", "Prometheus monitoring/main"]),
    error=st.sampled_from(["", "", "refused"]),
    faults=st.sampled_from([(), (), ("it does not select",)]),
    has_targets=st.booleans(),
    silent=st.sampled_from([(), ("photos-1",)]),
    down=st.sampled_from([(), (("photos-1", "refused"),)]),
    rule_error=st.sampled_from(["", "many-to-many"]),
    knows_operator=st.booleans(),
    is_overdue=st.booleans(),
    slos=SLOS,
    as_of=st.just(NOW),
)
DRILLS = st.none() | st.builds(
    DrillReading,
    is_over=st.booleans(),
    server=st.just("Prometheus monitoring/main"),
    firing_at=st.sampled_from([None, NOW]),
    alertmanagers=st.integers(0, 2),
    problem=st.sampled_from(["", "it answers 401"]),
    delivered_at=st.sampled_from([None, NOW]),
    kept_back=st.sampled_from(["", "silenced by 1"]),
)
INVALID = SpecError([FieldError("spec.model", "is required")])


@st.composite
def pods(draw: st.DrawFn) -> Manifest:
    """A pod of the current or of the old revision."""
    return a_pod(
        f"{draw(st.integers(0, 99)):05}",
        container=draw(CONTAINERS),
        template_hash=draw(st.sampled_from(["6d4cf56db6", OLD_HASH])),
        phase=draw(st.sampled_from(["Pending", "Running", "Failed"])),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A gateway in any state, possible or not."""
    wanted = draw(COUNT)
    specs: list[dict[str, Any]] = [{}, {"replicas": wanted}, {"scaling": {"minReplicas": 1}}]
    specs.append({"scaling": {"engine": "KEDA"}})
    near = st.one_of(st.just(wanted), st.just(wanted), COUNT)
    status = {
        "observedGeneration": draw(st.sampled_from([1, 1, 0])),
        "replicas": draw(near),
        "updatedReplicas": draw(near),
        "readyReplicas": draw(near),
        "availableReplicas": draw(near),
        "conditions": draw(CONDITIONS),
    }
    snapshot = a_snapshot(
        generation=draw(st.integers(1, 3)),
        deployment=status,
        replicas=wanted,
        autoscaler=draw(AUTOSCALERS),
        pods=draw(st.lists(pods(), max_size=3)),
        capabilities=draw(CAPABILITIES),
        spec=draw(st.sampled_from(specs)),
    )
    for key in draw(st.sets(st.sampled_from([DEPLOYMENT, AUTOSCALER, SCALED_OBJECT]), max_size=1)):
        if draw(st.booleans()):
            snapshot = with_child(snapshot, key, None)
    broken = draw(st.sampled_from([False, False, False, True]))
    reading, gateway = draw(READINGS), snapshot.gateway
    assert gateway is not None
    if (at := draw(st.sampled_from([None, None, "2026-03-04T12:00:00Z", "now"]))) is not None:
        gateway = with_drill(gateway, at)
        if reading is not None:
            reading = replace(reading, drill=draw(DRILLS))
    return replace(
        snapshot,
        failures=draw(FAILURES),
        reading=reading,
        spec_error=INVALID if broken else None,
        gateway=None if broken else gateway,
    )


def _as_controlled(child: Manifest) -> Manifest:
    """With the conditions that a Deployment's controller never leaves out."""
    if child["kind"] != "Deployment":
        return child
    status = child["status"]
    told = [*status["conditions"], condition("Available", "True"), progressing()]
    return {**child, "status": {**status, "conditions": told}}


@settings(max_examples=150)
@given(snapshots())
def test_a_status_is_a_fixed_point(snapshot: Snapshot) -> None:
    """Judged again, hours later, nothing is written and nothing is told."""
    first = judge(snapshot, None, NOW)

    again = judge(snapshot, first, NOW + timedelta(hours=5))

    assert again == first
    assert transitions(first, again) == []


@settings(max_examples=150)
@given(snapshots(), READINGS)
def test_monitoring_is_true_by_proof_only_and_never_false_without_an_answer(
    before: Snapshot, reading: Reading | None
) -> None:
    """Whatever was said before of the same spec."""
    status = judge(before, None, NOW)
    later = judge(replace(before, reading=reading), status, NOW + timedelta(minutes=1))

    found = condition_of(later, "MonitoringReady")
    is_answered = reading is not None and reading.server and not reading.error
    if found["reason"] == "Monitored" and reading is not None:
        assert reading.is_proof
    if found["status"] == "False" and reading is not None and not is_answered:
        blocked = {"PrometheusOperatorMissing", "ApplyRejected", "MonitoringDisabled"}
        assert found["reason"] in blocked


@settings(max_examples=150)
@given(snapshots())
def test_kstatus_reads_the_same_as_a_person(snapshot: Snapshot) -> None:
    """Current is Ready, Failed is Stalled, InProgress is Reconciling: exactly one of them."""
    status = judge(snapshot, None, NOW)
    gateway = {**snapshot.manifest, "status": status}

    true = true_conditions(gateway)
    assert true == [SAYS[kstatus(gateway)]]
    # Abnormal-true conditions are absent while all is normal.
    assert {it["status"] for it in status["conditions"] if it["type"] in SAYS.values()} <= (
        {"True"} if true == ["Ready"] else {"True", "False"}
    )


@settings(max_examples=300)
@given(snapshots())
def test_a_ready_gateway_has_no_child_that_kstatus_waits_for(snapshot: Snapshot) -> None:
    """Whoever waits for the gateway need not wait for the objects it is made of."""
    status = judge(snapshot, None, NOW)
    if ready_of(status)["status"] != "True":
        return

    waited_for = [
        kind
        for (kind, name), child in snapshot.children.items()
        if name == "photos" and kstatus(_as_controlled(child)) is not KStatus.CURRENT
    ]
    assert waited_for == []


@settings(max_examples=300)
@given(snapshots())
@pytest.mark.pain(1)
def test_ready_has_evidence(snapshot: Snapshot) -> None:
    """Never True on an old generation, a missing child, a failure or a wrong number."""
    status = judge(snapshot, None, NOW)
    assert status["observedGeneration"] == snapshot.manifest["metadata"]["generation"]
    if ready_of(status)["status"] != "True":
        return

    assert snapshot.spec_error is None
    assert {failure.kind for failure in snapshot.failures} <= {"ServiceMonitor"}
    live = snapshot.children[DEPLOYMENT]
    observed = live["status"]
    assert observed["observedGeneration"] == live["metadata"]["generation"]
    assert {
        live["spec"]["replicas"],
        observed["replicas"],
        observed["updatedReplicas"],
        observed["readyReplicas"],
        observed["availableReplicas"],
    } == {live["spec"]["replicas"]}


@settings(max_examples=150)
@given(snapshots())
def test_available_is_true_exactly_while_a_replica_is(snapshot: Snapshot) -> None:
    """Neither zero replicas nor a missing Deployment are available."""
    status = judge(snapshot, None, NOW)

    live = snapshot.children.get(DEPLOYMENT)
    answering = live is not None and live["status"]["availableReplicas"] > 0
    assert (condition_of(status, "Available")["status"] == "True") is answering


@settings(max_examples=150)
@given(snapshots(), snapshots())
def test_transition_times_move_exactly_on_flips(before: Snapshot, after: Snapshot) -> None:
    """metav1.Condition's rule, for every condition."""
    old = judge(before, None, NOW)
    new = judge(after, old, NOW + timedelta(minutes=1))

    for entry in new["conditions"]:
        then = condition_of(old, entry["type"])
        flipped = then.get("status") != entry["status"]
        assert entry["lastTransitionTime"] == (
            "2026-03-04T12:01:00Z" if flipped else "2026-03-04T12:00:00Z"
        )


@settings(max_examples=100)
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_the_cache_does_not_matter(snapshot: Snapshot, random: Any) -> None:
    """Pods, children and failures may come in any order."""
    shuffled = list(snapshot.pods)
    random.shuffle(shuffled)
    children = list(snapshot.children.items())
    random.shuffle(children)

    other = replace(
        snapshot, pods=shuffled, children=dict(children), failures=snapshot.failures[::-1]
    )

    assert judge(other, None, NOW) == judge(snapshot, None, NOW)
