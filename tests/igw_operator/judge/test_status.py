"""Ready, Available, Reconciling and Stalled, and the fields beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.api.status import GatewayStatus
from igw_operator.errors import FieldError, SpecError
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.status import judge
from scenes import (
    DEPLOYMENT,
    LONG_AGO,
    NOW,
    a_failure,
    a_pod,
    a_snapshot,
    condition_of,
    crashed,
    deployment_status,
    fixed,
    progressing,
    ready_of,
    unready,
    waiting,
    with_child,
)

ALL_TYPES = [
    "Ready",
    "Available",
    "ScalingReady",
    "MonitoringReady",
    "TelemetryReady",
    "SLOMet",
    "RolloutHeld",
]


def judged(snapshot: Snapshot, previous: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The status at the usual time."""
    return judge(snapshot, previous, NOW)


def edited(live: Manifest, **spec: Any) -> Manifest:
    """A live object with other spec fields."""
    return live | {"spec": live["spec"] | spec}


def test_a_gateway_that_is_as_asked_for() -> None:
    """The whole status, once, field by field."""
    status = judged(a_snapshot(generation=7))

    assert GatewayStatus.model_validate_json(json.dumps(status))
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": 7,
        "reason": "Serving",
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "readiness": "3/3",
        "selector": "app.kubernetes.io/instance=photos,app.kubernetes.io/name=igw-runtime",
        "url": "http://photos.demo.svc",
        "address": {"url": "http://photos.demo.svc"},
        "model": {"name": "resnet50", "version": "1"},
        "runtime": {"name": "default", "image": "igw.dev/runtime:0.1.0"},
        "slo": [
            {"name": "availability", "objective": "99.5%", "window": "30d"},
            {"name": "latency", "objective": "99%", "threshold": "300ms", "window": "30d"},
        ],
    }
    assert [it["type"] for it in status["conditions"]] == ALL_TYPES
    assert {it["observedGeneration"] for it in status["conditions"]} == {7}
    assert {it["lastTransitionTime"] for it in status["conditions"]} == {"2026-03-04T12:00:00Z"}
    assert ready_of(status) == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 7,
        "lastTransitionTime": "2026-03-04T12:00:00Z",
        "reason": "Serving",
        "message": "3 of 3 replicas ready",
    }


@pytest.mark.pain(5)
def test_a_gateway_of_which_nothing_exists_yet() -> None:
    """The first visit writes every condition."""
    status = judged(replace(a_snapshot(), children={}, replica_sets=[], desired=[]))

    assert [it["type"] for it in status["conditions"]] == ["Ready", "Reconciling", *ALL_TYPES[1:]]
    assert (status["reason"], status["readiness"]) == ("Applying", "0/0")
    assert "Deployment photos does not exist yet" in ready_of(status)["message"]
    assert not {"url", "selector"} & set(status)
    assert condition_of(status, "Available")["status"] == "False"


NOT_READY = {
    "a pod of three is not ready": a_snapshot(deployment=deployment_status(3, readyReplicas=2)),
    "a pod of three is not available": a_snapshot(
        deployment=deployment_status(3, availableReplicas=2)
    ),
    "an old pod is left": a_snapshot(deployment=deployment_status(3, replicas=4)),
    "a pod is of the old revision": a_snapshot(deployment=deployment_status(3, updatedReplicas=2)),
    "the Deployment's status is of the generation before": a_snapshot(
        deployment=deployment_status(3, observedGeneration=0)
    ),
    "the Deployment was deleted": with_child(a_snapshot(), DEPLOYMENT, None),
    "the Service is not there": with_child(a_snapshot(), ("Service", "photos"), None),
    "the autoscaler has not obeyed new bounds": a_snapshot(scaling={"minReplicas": 5}),
}


@pytest.mark.parametrize("snapshot", NOT_READY.values(), ids=NOT_READY)
@pytest.mark.pain(1)
def test_ready_is_false_while_anything_is_missing(snapshot: Snapshot) -> None:
    """One thing that is not as asked for is enough."""
    status = judged(snapshot)

    assert ready_of(status)["status"] == "False"
    assert condition_of(status, "Reconciling")["reason"] == ready_of(status)["reason"]


def test_a_cached_deployment_older_than_the_apply_proves_nothing() -> None:
    """All its numbers are right, but they are those of the template before."""
    snapshot = a_snapshot()
    live = snapshot.children[DEPLOYMENT]
    template = live["spec"]["template"]
    old = template | {"spec": template["spec"] | {"serviceAccountName": "before"}}

    ready = ready_of(judged(with_child(snapshot, DEPLOYMENT, edited(live, template=old))))

    assert (ready["status"], ready["reason"]) == ("False", Reason.APPLYING)
    assert "Deployment photos is not yet as it is asked for" in ready["message"]


def test_a_cached_object_from_before_a_field_was_dropped_proves_nothing() -> None:
    """Only the hash sees that something is no longer desired."""
    snapshot = a_snapshot()
    live = snapshot.children[DEPLOYMENT]
    stamps = {conventions.ANNOTATION_APPLIED_HASH: "0123456789abcdef"}
    old = live | {"metadata": live["metadata"] | {"annotations": stamps}}

    assert ready_of(judged(with_child(snapshot, DEPLOYMENT, old)))["reason"] == Reason.APPLYING


def test_children_that_are_not_stamped_yet_are_compared_all_the_same() -> None:
    """Builders do not stamp; the judge does not mind."""
    snapshot = a_snapshot()
    bare = []
    for child in snapshot.desired:
        metadata = {
            key: value
            for key, value in child["metadata"].items()
            if key not in {"annotations", "ownerReferences"}
        }
        bare.append(child | {"metadata": metadata})

    assert ready_of(judged(replace(snapshot, desired=bare)))["status"] == "True"


@pytest.mark.pain(2)
def test_a_changed_template_is_not_ready_by_the_old_pods() -> None:
    """`kubectl wait` right after an edit must not pass (KServe and NIM race here)."""
    snapshot = a_snapshot(generation=2, deployment=deployment_status(3, observedGeneration=0))

    status = judged(snapshot, judged(a_snapshot(generation=1)))

    assert status["observedGeneration"] == 2
    assert ready_of(status)["status"] == "False"
    assert condition_of(status, "Available")["status"] == "True"


@pytest.mark.pain(1)
def test_zero_replicas_on_request_are_ready_and_not_available() -> None:
    """The wish is fulfilled, and nothing answers (LLMKube#1303 says Available)."""
    status = judged(fixed(0))

    assert (ready_of(status)["status"], status["reason"]) == ("True", Reason.SCALED_TO_ZERO)
    available = condition_of(status, "Available")
    assert (available["status"], available["reason"]) == ("False", Reason.SCALED_TO_ZERO)
    assert "nothing answers" in status["message"]


def test_zero_replicas_are_not_ready_while_one_is_left() -> None:
    """Scaling down takes time too."""
    snapshot = fixed(0, deployment=deployment_status(0, replicas=1, readyReplicas=1))

    assert ready_of(judged(snapshot))["status"] == "False"


def test_zero_replicas_by_hand_switch_an_autoscaler_off() -> None:
    """That is nobody's wish, and no waiting ends it."""
    status = judged(a_snapshot(replicas=0))

    assert ready_of(status)["reason"] == Reason.AUTOSCALER_OFF
    assert "kubectl scale deployment photos -n demo --replicas=3" in ready_of(status)["message"]
    assert condition_of(status, "Stalled")["status"] == "True"


@pytest.mark.parametrize("replicas", [2, 21], ids=["too few", "too many"])
def test_a_number_outside_new_bounds_is_not_ready(replicas: int) -> None:
    """The autoscaler takes seconds to obey an edit; `kubectl wait` must not be faster."""
    ready = ready_of(judged(a_snapshot(replicas=replicas)))

    assert (ready["status"], ready["reason"]) == ("False", Reason.SCALING)
    assert "3 to 20 are asked for" in ready["message"]


def test_available_says_how_much_is_left() -> None:
    """Ready alone would hide whether anything answers at all."""
    some = judged(a_snapshot(deployment=unready(availableReplicas=1)))
    none = judged(a_snapshot(deployment=unready(), pods=[a_pod(container=crashed(1))]))

    assert condition_of(some, "Available")["reason"] == Reason.PARTIAL_CAPACITY
    assert condition_of(some, "Available")["message"] == "1 of 3 replicas available"
    assert condition_of(none, "Available")["status"] == "False"
    assert condition_of(none, "Available")["reason"] == Reason.CRASH_LOOP


FAILURES = {
    "an object of somebody else": (
        a_failure("Service", 409, "Service photos exists and is not ours", foreign=True),
        Reason.FOREIGN_OBJECT,
        "Service photos exists and is not ours. Next: kubectl get service photos -n demo -o yaml",
    ),
    "a right that the operator lacks": (
        a_failure("Service", 403, 'forbidden: User "system:sa:igw" cannot patch resource'),
        Reason.APPLY_FORBIDDEN,
        "kubectl auth can-i --list -n demo --as=system:sa:igw",
    ),
    "an admission that refuses": (
        a_failure("Deployment", 403, "denied by policy"),
        Reason.APPLY_FORBIDDEN,
        "Deployment photos was refused: denied by policy. Next: kubectl get deployment photos",
    ),
    "a quota for objects": (
        a_failure("ConfigMap", 403, "exceeded quota: objects, requested: count/configmaps=1"),
        Reason.QUOTA_EXCEEDED,
        "kubectl describe resourcequota -n demo",
    ),
    "a field that is invalid": (
        a_failure("Deployment", 422, "spec.selector: field is immutable"),
        Reason.APPLY_REJECTED,
        "field is immutable",
    ),
    "an API server that is not well": (
        a_failure("PodDisruptionBudget", 503, "etcd leader changed"),
        Reason.APPLY_FAILED,
        "PodDisruptionBudget photos was refused: etcd leader changed",
    ),
}


@pytest.mark.parametrize(("failure", "reason", "says"), FAILURES.values(), ids=FAILURES)
def test_a_child_that_cannot_be_written(failure: Any, reason: Reason, says: str) -> None:
    """The server's own words are in the message, and the child's name."""
    status = judged(replace(a_snapshot(), failures=[failure]))

    assert (ready_of(status)["status"], ready_of(status)["reason"]) == ("False", reason)
    assert says in ready_of(status)["message"]
    lasting = reason not in {Reason.APPLY_FAILED, Reason.QUOTA_EXCEEDED}
    assert bool(condition_of(status, "Stalled")) is lasting


def test_the_worst_of_several_failures_is_the_reason() -> None:
    """In whatever order they happened."""
    failures = [failure for failure, _, _ in FAILURES.values()]

    for order in (failures, failures[::-1]):
        assert judged(replace(a_snapshot(), failures=order))["reason"] == Reason.FOREIGN_OBJECT


def test_an_object_of_somebody_else_tells_nothing_about_us() -> None:
    """Its replicas are not ours, even where it carries our labels."""
    failure = a_failure("Deployment", 409, "Deployment photos is not ours", foreign=True)

    status = judged(replace(a_snapshot(), failures=[failure]))

    assert condition_of(status, "Available")["status"] == "False"
    assert status["replicas"] == 0


def test_trouble_around_serving_leaves_ready_true() -> None:
    """It answers just as well while nobody watches it; REASON names the trouble."""
    failures = [
        a_failure("ServiceMonitor", 422, "bad monitor"),
        a_failure("Service", 503, "later", name="photos-metrics"),
        a_failure("ConfigMap", 503, "later", name="photos-collector"),
    ]

    status = judged(replace(a_snapshot(), failures=failures))

    assert ready_of(status)["status"] == "True"
    assert condition_of(status, "MonitoringReady")["reason"] == Reason.APPLY_REJECTED
    assert condition_of(status, "TelemetryReady")["reason"] == Reason.APPLY_FAILED
    assert status["reason"] == Reason.APPLY_REJECTED
    assert "bad monitor" in status["message"]


def spec_error(path: str, message: str, cause: BaseException | None = None) -> SpecError:
    """An error about one field."""
    error = SpecError([FieldError(path, message)])
    error.__cause__ = cause
    return error


SPEC_ERRORS = {
    "a runtime that does not exist": (
        spec_error("spec.runtimeRef.name", "no InferenceRuntime 'x'"),
        Reason.RUNTIME_NOT_FOUND,
        "kubectl get igwr",
    ),
    "a runtime that is invalid": (
        spec_error("spec.runtimeRef", "is invalid", spec_error("spec.image", "is required")),
        Reason.INVALID_RUNTIME,
        "kubectl get igwr",
    ),
    "a model that the runtime does not carry": (
        spec_error("spec.model.name", "InferenceRuntime 'default' has no model 'x'"),
        Reason.MODEL_NOT_FOUND,
        "kubectl edit igw photos -n demo",
    ),
    "an additional model that the runtime does not carry": (
        spec_error("spec.additionalModels[1].name", "InferenceRuntime 'default' has no model 'x'"),
        Reason.MODEL_NOT_FOUND,
        "spec.additionalModels[1].name: InferenceRuntime 'default' has no model 'x'",
    ),
    "an affinity that is none": (
        spec_error("spec.scheduling.affinity", "unknown field"),
        Reason.INVALID_SPEC,
        "spec.scheduling.affinity: unknown field",
    ),
}


@pytest.mark.parametrize(("error", "reason", "says"), SPEC_ERRORS.values(), ids=SPEC_ERRORS)
def test_a_request_that_cannot_be_fulfilled(error: SpecError, reason: Reason, says: str) -> None:
    """Stalled until an edit, while what serves goes on serving."""
    status = judged(replace(a_snapshot(), spec_error=error, desired=[]))

    assert (ready_of(status)["status"], ready_of(status)["reason"]) == ("False", reason)
    assert says in ready_of(status)["message"]
    assert condition_of(status, "Stalled")["reason"] == reason
    assert condition_of(status, "Available")["status"] == "True"


def test_a_spec_that_cannot_even_be_read() -> None:
    """What is asked for is unknown, so nothing else is claimed; all fields are named."""
    error = SpecError([FieldError("spec.model", "is required"), FieldError("spec.x", "unknown")])
    snapshot = replace(a_snapshot(), gateway=None, runtime=None, spec_error=error, desired=[])

    status = judged(snapshot)

    assert status["reason"] == Reason.INVALID_SPEC
    assert "spec.model: is required; spec.x: unknown" in status["message"]
    for kind in ("ScalingReady", "MonitoringReady", "TelemetryReady", "SLOMet"):
        assert condition_of(status, kind)["status"] == "Unknown"
    assert condition_of(status, "Available")["status"] == "True"
    assert not {"model", "runtime"} & set(status)


def test_a_runtime_that_nobody_found() -> None:
    """Without a runtime there is nothing to serve with."""
    assert judged(replace(a_snapshot(), runtime=None))["reason"] == Reason.RUNTIME_NOT_FOUND


def test_a_gateway_on_its_way_out() -> None:
    """Deletion goes before everything else that could be said."""
    snapshot = a_snapshot()
    metadata = snapshot.manifest["metadata"] | {"deletionTimestamp": LONG_AGO}

    status = judged(replace(snapshot, manifest={**snapshot.manifest, "metadata": metadata}))

    assert status["reason"] == Reason.DELETING


def test_a_deadline_makes_a_pods_trouble_stall() -> None:
    """A tag that may still be pushed is waited for, until the Deployment gives up."""
    pod = a_pod(container=waiting("ErrImagePull", "not found"))
    hoping = judged(a_snapshot(deployment=unready(), pods=[pod]))
    gave_up = unready(conditions=[progressing("ProgressDeadlineExceeded", "False")])
    stalled = judged(a_snapshot(deployment=gave_up, pods=[pod]))

    assert condition_of(hoping, "Reconciling")["reason"] == Reason.IMAGE_PULL_FAILED
    assert condition_of(stalled, "Stalled")["reason"] == Reason.IMAGE_PULL_FAILED
    assert not condition_of(stalled, "Reconciling")


def test_a_last_word_of_the_runtime_stalls_at_once() -> None:
    """A digest does not come right by waiting ten minutes."""
    pod = a_pod(container=crashed(65, "ModelDigestMismatch: want 00, have ff"))

    status = judged(a_snapshot(deployment=unready(), pods=[pod]))

    assert condition_of(status, "Stalled")["reason"] == Reason.MODEL_DIGEST_MISMATCH


def test_transition_times_move_on_flips_only() -> None:
    """A new reason or message is no flip."""
    before = judge(a_snapshot(deployment=unready()), None, NOW.replace(hour=1))

    crash = judged(a_snapshot(deployment=unready(), pods=[a_pod(container=crashed(1))]), before)
    well = judged(a_snapshot(), before)

    assert ready_of(crash)["reason"] != ready_of(before)["reason"]
    assert ready_of(crash)["lastTransitionTime"] == "2026-03-04T01:00:00Z"
    assert ready_of(well)["lastTransitionTime"] == "2026-03-04T12:00:00Z"


def test_a_previous_status_that_somebody_damaged_is_no_obstacle() -> None:
    """A condition without a time gets one."""
    previous = {"conditions": [{"type": "Ready", "status": "True"}]}

    assert ready_of(judged(a_snapshot(), previous))["lastTransitionTime"] == "2026-03-04T12:00:00Z"


def test_a_service_on_another_port_says_so_in_its_url() -> None:
    """The port is the live Service's."""
    snapshot = a_snapshot()
    key = ("Service", "photos")
    live = edited(snapshot.children[key], ports=[{"port": 8000}])

    assert judged(with_child(snapshot, key, live))["url"] == "http://photos.demo.svc:8000"


def test_a_service_that_is_encrypted_says_so_in_its_url() -> None:
    """By the live Service: the URL is right while a change of it is on its way."""
    snapshot = a_snapshot()
    key = ("Service", "photos")
    for port, url in ((443, "https://photos.demo.svc"), (8443, "https://photos.demo.svc:8443")):
        live = edited(snapshot.children[key], ports=[{"name": "https", "port": port}])
        assert judged(with_child(snapshot, key, live))["url"] == url


def test_a_gateway_with_a_long_name_finds_its_children() -> None:
    """A child's name may be cut and carry a hash."""
    status = judged(a_snapshot(name="a" * 60))

    assert (status["readiness"], ready_of(status)["status"]) == ("3/3", "True")
    assert condition_of(status, "TelemetryReady")["status"] == "True"
