"""ScalingReady: whoever scales, and whatever keeps them from it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from igw_operator.api.objects import Manifest
from igw_operator.errors import LeavingAutoscalerError
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import ApplyFailure, Snapshot
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities, Defaults
from scenes import (
    AUTOSCALER,
    FULL,
    JUST_NOW,
    KEDA,
    KEDAS_AUTOSCALER,
    LONG_AGO,
    NOW,
    SCALED_OBJECT,
    a_failure,
    a_snapshot,
    autoscaler_conditions,
    condition,
    condition_of,
    fixed,
    keda_conditions,
    ready_of,
    unready,
    with_child,
)

NO_CUSTOM = Capabilities(service_monitors=True, prometheus_rules=True)
NO_METRICS = (
    "False",
    "FailedGetResourceMetric",
    "the HPA was unable to compute the replica count: failed to get cpu utilization",
)
OFF = ("False", "ScalingDisabled", "scaling is disabled since the replica count is zero")


def judged(snapshot: Snapshot) -> tuple[str, str, str]:
    """Status, reason and message of ScalingReady."""
    found = condition_of(judge(snapshot, None, NOW), "ScalingReady")
    return found["status"], found["reason"], found["message"]


def with_leftover() -> Snapshot:
    """Fixed replicas, and the autoscaler of before."""
    return with_child(fixed(3), AUTOSCALER, a_snapshot().children[AUTOSCALER])


SCALING: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "the autoscaler works": (a_snapshot(), "True", Reason.AUTOSCALING, "kubectl describe hpa"),
    "replicas are fixed": (fixed(3), "True", Reason.FIXED_REPLICAS, "fixes 3 replicas"),
    "an autoscaler is left over and would fight": (
        with_leftover(),
        "False",
        Reason.AUTOSCALER_LEFT_OVER,
        "HorizontalPodAutoscaler photos is still there",
    ),
    "the autoscaler does not exist yet": (
        with_child(a_snapshot(), AUTOSCALER, None),
        "Unknown",
        Reason.APPLYING,
        "HorizontalPodAutoscaler photos is not yet as it is asked for",
    ),
    "the autoscaler is gone while nothing is applied": (
        replace(with_child(a_snapshot(), AUTOSCALER, None), desired=[]),
        "False",
        Reason.AUTOSCALER_MISSING,
        "HorizontalPodAutoscaler photos does not exist",
    ),
    "the autoscaler could not be written": (
        replace(a_snapshot(), failures=[a_failure("HorizontalPodAutoscaler", 422, "bad metric")]),
        "False",
        Reason.APPLY_REJECTED,
        "bad metric",
    ),
    "the autoscaler has not been looked at": (
        a_snapshot(autoscaler=()),
        "Unknown",
        Reason.STARTING,
        "has no metrics yet",
    ),
    "pods that are not ready have no metrics": (
        a_snapshot(
            autoscaler=autoscaler_conditions(ScalingActive=NO_METRICS), deployment=unready()
        ),
        "Unknown",
        Reason.STARTING,
        "has no metrics yet",
    ),
    "the metrics pipeline is broken (kserve#5530)": (
        a_snapshot(autoscaler=autoscaler_conditions(ScalingActive=NO_METRICS)),
        "False",
        Reason.METRICS_UNAVAILABLE,
        "failed to get cpu utilization. Next: kubectl describe hpa photos -n demo",
    ),
    "the autoscaler may not scale": (
        a_snapshot(
            autoscaler=autoscaler_conditions(AbleToScale=("False", "FailedGetScale", "forbidden"))
        ),
        "False",
        Reason.CANNOT_SCALE,
        "cannot scale: forbidden",
    ),
    "somebody scaled to zero": (
        a_snapshot(autoscaler=autoscaler_conditions(ScalingActive=OFF), replicas=0),
        "False",
        Reason.AUTOSCALER_OFF,
        "is off, because its Deployment was scaled to 0",
    ),
    "two targets need an API that is absent": (
        a_snapshot(capabilities=NO_CUSTOM),
        "False",
        Reason.CUSTOM_METRICS_UNAVAILABLE,
        "scales on cpu and memory only: requestsPerSecond and queueDepth need custom.metrics",
    ),
    "one target needs an API that is absent": (
        a_snapshot(capabilities=NO_CUSTOM, scaling={"queueDepth": 0}),
        "False",
        Reason.CUSTOM_METRICS_UNAVAILABLE,
        "only: requestsPerSecond need",
    ),
    "nobody asks for what the absent API has": (
        a_snapshot(capabilities=NO_CUSTOM, scaling={"queueDepth": 0, "requestsPerSecond": 0}),
        "True",
        Reason.AUTOSCALING,
        "gets its metrics and can scale",
    ),
    "the autoscaler wants more than it may": (
        a_snapshot(
            autoscaler=autoscaler_conditions(ScalingLimited=("True", "TooManyReplicas", "capped"))
        ),
        "True",
        Reason.AT_MAX_REPLICAS,
        "is at maxReplicas and wants more",
    ),
    "the autoscaler is at its lower bound": (
        a_snapshot(
            autoscaler=autoscaler_conditions(ScalingLimited=("True", "TooFewReplicas", "floor"))
        ),
        "True",
        Reason.AUTOSCALING,
        "can scale",
    ),
    "the autoscaler says nothing of limits": (
        a_snapshot(autoscaler=[condition("ScalingActive", "True", "ValidMetricFound")]),
        "True",
        Reason.AUTOSCALING,
        "can scale",
    ),
}


@pytest.mark.parametrize(("snapshot", "status", "reason", "says"), SCALING.values(), ids=SCALING)
@pytest.mark.pain(6)
def test_scaling_ready(snapshot: Snapshot, status: str, reason: Reason, says: str) -> None:
    """The number of replicas follows what is asked for, or the condition says why not."""
    found = judged(snapshot)

    assert found[:2] == (status, reason)
    assert says in found[2]


def read(*metrics: tuple[str, str]) -> list[dict[str, Any]]:
    """What an HPA's status says of metrics that it could read, and of those it could not."""
    described: list[dict[str, Any]] = []
    for kind, name in metrics:
        if kind == "Resource":
            described.append({"type": kind, "resource": {"name": name, "current": {}}})
        elif kind:
            described.append({"type": kind, kind.lower(): {"metric": {"name": name}}})
        else:
            described.append({"type": ""})
    return described


ALL_READ = read(
    ("Resource", "cpu"),
    ("Resource", "memory"),
    ("Pods", "http_requests_per_second"),
    ("Pods", "inference_queue_size"),
)
METRICS: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "every metric is read": (
        a_snapshot(metrics=ALL_READ),
        "True",
        Reason.AUTOSCALING,
        "gets its metrics and can scale",
    ),
    "a listed metric has no values, and the HPA says nothing of it": (
        a_snapshot(metrics=[*ALL_READ[:2], *read(("", "")), ALL_READ[3]]),
        "False",
        Reason.METRICS_UNAVAILABLE,
        "cannot read http_requests_per_second, and never scales down without. Next: kubectl d",
    ),
    "cpu is not read": (
        a_snapshot(metrics=ALL_READ[1:]),
        "False",
        Reason.METRICS_UNAVAILABLE,
        "cannot read cpu",
    ),
    "another autoscaler acts on the same pods": (
        a_snapshot(
            autoscaler=autoscaler_conditions(
                ScalingActive=("False", "AmbiguousSelector", "controlled by multiple HPAs: [a b]")
            )
        ),
        "False",
        Reason.AUTOSCALER_LEFT_OVER,
        "is not alone, and so does nothing: controlled by multiple HPAs: [a b]. Next: kubectl get",
    ),
    "the custom metrics API lists neither metric": (
        a_snapshot(capabilities=replace(FULL, pods_metrics=frozenset())),
        "False",
        Reason.CUSTOM_METRICS_MISSING,
        "requestsPerSecond and queueDepth: custom.metrics.k8s.io does not list pods/http_requests",
    ),
    "it lists one of them": (
        a_snapshot(capabilities=replace(FULL, pods_metrics=frozenset({"inference_queue_size"}))),
        "False",
        Reason.CUSTOM_METRICS_MISSING,
        "scales without requestsPerSecond: custom",
    ),
}


@pytest.mark.parametrize(("snapshot", "status", "reason", "says"), METRICS.values(), ids=METRICS)
@pytest.mark.pain(6)
def test_each_metric_is_accounted_for(
    snapshot: Snapshot, status: str, reason: Reason, says: str
) -> None:
    """What an HPA cannot read keeps it from scaling down, for ever and in silence."""
    found = judged(snapshot)

    assert found[:2] == (status, reason)
    assert says in found[2]


@pytest.mark.parametrize(
    "capabilities", [NO_CUSTOM, replace(FULL, pods_metrics=frozenset())], ids=["API", "metrics"]
)
def test_a_metric_that_nobody_asked_for_is_not_the_reason(capabilities: Capabilities) -> None:
    """All targets are on by default; who never mentioned them is not told in REASON."""
    assert judge(a_snapshot(capabilities=capabilities), None, NOW)["reason"] == Reason.SERVING
    asked = a_snapshot(capabilities=capabilities, scaling={"requestsPerSecond": 5})
    assert judge(asked, None, NOW)["reason"] == judged(asked)[1]


def by_keda(**arguments: Any) -> Snapshot:
    """A gateway that KEDA scales."""
    return a_snapshot(capabilities=KEDA, **arguments)


def changed(snapshot: Snapshot, **metadata: Any) -> Snapshot:
    """The snapshot with its live ScaledObject's metadata changed."""
    live = deepcopy(snapshot.children[SCALED_OBJECT])
    live["metadata"] |= metadata
    return with_child(snapshot, SCALED_OBJECT, live)


def paused(annotation: str, value: str) -> Snapshot:
    """KEDA has been told to pause, and does."""
    snapshot = by_keda(scaled_object=keda_conditions(Paused=("True", "ScaledObjectPaused", "")))
    stamps = snapshot.children[SCALED_OBJECT]["metadata"]["annotations"]
    return changed(snapshot, annotations=stamps | {f"autoscaling.keda.sh/{annotation}": value})


def unseen(created: str) -> Snapshot:
    """A ScaledObject that KEDA has not looked at."""
    return changed(by_keda(scaled_object=[]), creationTimestamp=created)


def leaving(after: Snapshot, since: str) -> Snapshot:
    """What is asked for now, and a ScaledObject of before that its finalizer keeps."""
    before = changed(by_keda(), deletionTimestamp=since, finalizers=["finalizer.keda.sh"])
    children = {**after.children, SCALED_OBJECT: before.children[SCALED_OBJECT]}
    return replace(after, children=children)


def with_kedas_autoscaler(after: Snapshot) -> Snapshot:
    """What is asked for now, and the HPA of a ScaledObject that is gone."""
    hpa: Manifest = by_keda().children[KEDAS_AUTOSCALER]
    return with_child(after, KEDAS_AUTOSCALER, hpa)


def waiting_for(snapshot: Snapshot, kind: str) -> Snapshot:
    """A child waits until the ScaledObject is gone."""
    error = LeavingAutoscalerError(
        f"{kind} photos waits until ScaledObject photos is gone", status=409
    )
    return replace(snapshot, failures=[ApplyFailure(kind=kind, name="photos", error=error)])


KEDA_READ = read(
    ("Resource", "cpu"),
    ("Resource", "memory"),
    ("External", "s2-prometheus"),
    ("External", "s3-prometheus"),
)
BY_KEDA: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "KEDA scales": (
        by_keda(metrics=KEDA_READ),
        "True",
        Reason.AUTOSCALING,
        "HorizontalPodAutoscaler keda-hpa-photos gets its metrics and can scale",
    ),
    "KEDA's autoscaler wants more than it may": (
        by_keda(
            autoscaler=autoscaler_conditions(ScalingLimited=("True", "TooManyReplicas", "capped"))
        ),
        "True",
        Reason.AT_MAX_REPLICAS,
        "keda-hpa-photos is at maxReplicas",
    ),
    "the ScaledObject is not there yet": (
        with_child(by_keda(), SCALED_OBJECT, None),
        "Unknown",
        Reason.APPLYING,
        "ScaledObject photos is not yet as it is asked for",
    ),
    "KEDA's webhook refuses it": (
        replace(by_keda(), failures=[a_failure("ScaledObject", 403, "the workload is managed")]),
        "False",
        Reason.APPLY_FORBIDDEN,
        "ScaledObject photos was refused: the workload is managed",
    ),
    "KEDA has just been told": (
        unseen(JUST_NOW),
        "Unknown",
        Reason.STARTING,
        "KEDA has not looked at ScaledObject photos yet",
    ),
    "KEDA's operator does not run": (
        unseen(LONG_AGO),
        "False",
        Reason.KEDA_NOT_READY,
        "11:00:00 UTC. Next: kubectl get pods -A -l app.kubernetes.io/name=keda-operator",
    ),
    "KEDA cannot do what is asked": (
        by_keda(
            scaled_object=keda_conditions(Ready=("False", "ScaledObjectCheckFailed", "no scaler"))
        ),
        "False",
        Reason.KEDA_NOT_READY,
        "KEDA cannot do what ScaledObject photos says: no scaler. Next: kubectl describe scaled",
    ),
    "somebody paused it": (
        paused("paused", "true"),
        "False",
        Reason.SCALING_PAUSED,
        "paused=true. Next: kubectl annotate scaledobject photos -n demo autoscaling.keda.sh/pau",
    ),
    "somebody paused it at a number": (
        paused("paused-replicas", "2"),
        "False",
        Reason.SCALING_PAUSED,
        "autoscaling.keda.sh/paused-replicas=2",
    ),
    "KEDA has not made its autoscaler": (
        with_child(by_keda(), KEDAS_AUTOSCALER, None),
        "Unknown",
        Reason.STARTING,
        "has not made HorizontalPodAutoscaler keda-hpa-photos yet",
    ),
    "Prometheus does not answer KEDA": (
        by_keda(metrics=[*KEDA_READ[:2], *read(("", "")), KEDA_READ[3]]),
        "False",
        Reason.METRICS_UNAVAILABLE,
        "HorizontalPodAutoscaler keda-hpa-photos cannot read http_requests_per_second",
    ),
    "KEDA was not told which Prometheus to ask": (
        by_keda(scaling={"engine": "KEDA"}, defaults=Defaults()),
        "False",
        Reason.CUSTOM_METRICS_UNAVAILABLE,
        "requestsPerSecond and queueDepth need a Prometheus for KEDA to ask, and the operator's I",
    ),
    "KEDA is asked for and is not there": (
        a_snapshot(scaling={"engine": "KEDA"}),
        "False",
        Reason.KEDA_UNAVAILABLE,
        "does not serve scaledobjects.keda.sh; HorizontalPodAutoscaler photos scales until it does",
    ),
}


@pytest.mark.parametrize(("snapshot", "status", "reason", "says"), BY_KEDA.values(), ids=BY_KEDA)
def test_scaling_by_keda(snapshot: Snapshot, status: str, reason: Reason, says: str) -> None:
    """KEDA's own word, and then that of the autoscaler that it made."""
    found = judged(snapshot)

    assert found[:2] == (status, reason)
    assert says in found[2]


SWITCHING: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "from KEDA to an HPA": (
        leaving(waiting_for(a_snapshot(), "HorizontalPodAutoscaler"), JUST_NOW),
        "Unknown",
        Reason.APPLYING,
        "ScaledObject photos is on its way out",
    ),
    "from KEDA to an HPA, and KEDA's operator does not run": (
        leaving(waiting_for(a_snapshot(), "HorizontalPodAutoscaler"), LONG_AGO),
        "False",
        Reason.AUTOSCALER_LEFT_OVER,
        "deleted at 11:00:00 UTC and still scales, until KEDA's operator takes its finalizer",
    ),
    "from KEDA to a fixed number, and KEDA's operator does not run": (
        leaving(waiting_for(fixed(3), "Deployment"), LONG_AGO),
        "False",
        Reason.AUTOSCALER_LEFT_OVER,
        "Next: kubectl get pods -A -l app.kubernetes.io/name=keda-operator",
    ),
    "from KEDA to a fixed number, before the ScaledObject was deleted": (
        with_child(fixed(3), SCALED_OBJECT, by_keda().children[SCALED_OBJECT]),
        "Unknown",
        Reason.APPLYING,
        "ScaledObject photos is on its way out",
    ),
    "from KEDA, whose autoscaler is still to be collected": (
        with_kedas_autoscaler(fixed(3)),
        "Unknown",
        Reason.APPLYING,
        "HorizontalPodAutoscaler keda-hpa-photos is left of ScaledObject photos",
    ),
    "to KEDA, and the HPA could not be deleted": (
        replace(
            with_child(by_keda(), SCALED_OBJECT, None),
            failures=[a_failure("HorizontalPodAutoscaler", 500, "etcd is sad")],
        ),
        "False",
        Reason.APPLY_FAILED,
        "HorizontalPodAutoscaler photos was refused: etcd is sad",
    ),
}


@pytest.mark.parametrize(
    ("snapshot", "status", "reason", "says"), SWITCHING.values(), ids=SWITCHING
)
def test_who_scales_is_being_switched(
    snapshot: Snapshot, status: str, reason: Reason, says: str
) -> None:
    """What has to go first is named, for as long as it has not gone (kserve#5196)."""
    found = judged(snapshot)

    assert found[:2] == (status, reason)
    assert says in found[2]


def test_a_fixed_number_that_waits_for_keda_is_not_ready() -> None:
    """The number is not in place; that it is on its way is said in REASON."""
    ready = ready_of(judge(leaving(waiting_for(fixed(3), "Deployment"), JUST_NOW), None, NOW))
    assert (ready["status"], ready["reason"]) == ("False", Reason.APPLYING)


@pytest.mark.parametrize("world", [SCALING, METRICS, BY_KEDA, SWITCHING])
def test_every_message_about_trouble_ends_with_a_command(
    world: Mapping[str, tuple[Snapshot, str, Reason, str]],
) -> None:
    """Whoever reads it at night is told what to type."""
    for snapshot, *_ in world.values():
        status, _, message = judged(snapshot)
        assert status != "False" or "kubectl " in message, message
