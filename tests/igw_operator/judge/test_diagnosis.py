"""Which reason a world gives that is not ready, and what its message says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from igw_operator.api.objects import Manifest
from igw_operator.judge.reasons import SEVERITY, Reason
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.status import judge
from scenes import (
    JUST_NOW,
    LONG_AGO,
    NOW,
    OLD_HASH,
    a_pod,
    a_snapshot,
    an_event,
    condition,
    crashed,
    end,
    progressing,
    ready_of,
    running,
    unready,
    waiting,
)

POD = "photos-6d4cf56db6-aaaaa"
DESCRIBE = f"kubectl describe pod {POD} -n demo"
LOGS = f"kubectl logs {POD} -c runtime -n demo"
NOT_FOUND = (
    "rpc error: code = NotFound desc = failed to pull and unpack image "
    '"docker.io/acme/x:9": failed to resolve reference "docker.io/acme/x:9": '
    "docker.io/acme/x:9: not found"
)


@dataclass(frozen=True)
class Case:
    """A pod, and what is to be said of it."""

    sentence: str
    reason: Reason
    pod: Manifest
    says: Sequence[str]
    events: Sequence[Manifest] = ()


def unscheduled(message: str, reason: str = "Unschedulable") -> Manifest:
    """A pod that the scheduler could not place."""
    return a_pod(conditions=[condition("PodScheduled", "False", reason, message)])


CASES = (
    Case(
        "an image that is not in the registry",
        Reason.IMAGE_PULL_FAILED,
        a_pod(container=waiting("ErrImagePull", NOT_FOUND)),
        ["cannot pull image igw.dev/runtime:0.1.0: docker.io/acme/x:9: not found", DESCRIBE],
    ),
    Case(
        "an image that is not in the registry, while a new kubelet backs off",
        Reason.IMAGE_PULL_FAILED,
        a_pod(
            container=waiting(
                "ImagePullBackOff", f'Back-off pulling image "acme/x:9": ErrImagePull: {NOT_FOUND}'
            )
        ),
        ["cannot pull image igw.dev/runtime:0.1.0: docker.io/acme/x:9: not found. Next:"],
    ),
    Case(
        "an image that is not in the registry, while an old kubelet backs off",
        Reason.IMAGE_PULL_FAILED,
        a_pod(container=waiting("ImagePullBackOff", 'Back-off pulling image "acme/x:9"')),
        ["cannot pull image igw.dev/runtime:0.1.0: docker.io/acme/x:9: not found. Next:"],
        [
            an_event("Failed", "Error: ErrImagePull"),
            an_event("Failed", f'Failed to pull image "acme/x:9": {NOT_FOUND}'),
        ],
    ),
    Case(
        "an image pull of which nobody says why it failed",
        Reason.IMAGE_PULL_FAILED,
        a_pod(container=waiting("ImagePullBackOff", 'Back-off pulling image "acme/x:9"')),
        ["cannot pull image igw.dev/runtime:0.1.0: ImagePull. Next:"],
    ),
    Case(
        "an image name that is none",
        Reason.IMAGE_PULL_FAILED,
        a_pod(container=waiting("InvalidImageName", "couldn't parse image name")),
        ["couldn't parse image name"],
    ),
    Case(
        "an init container's image",
        Reason.IMAGE_PULL_FAILED,
        a_pod(init=waiting("ErrImagePull", "unauthorized") | {"image": "acme/fetch:1"}),
        ["cannot pull image acme/fetch:1: unauthorized"],
    ),
    Case(
        "a ConfigMap that a container names and nobody made",
        Reason.CONTAINER_CONFIG_ERROR,
        a_pod(container=waiting("CreateContainerConfigError", 'configmap "x" not found')),
        ["Container runtime of pod", 'configmap "x" not found', DESCRIBE],
    ),
    Case(
        "a container that the container runtime refuses",
        Reason.CONTAINER_CANNOT_START,
        a_pod(container=waiting("RunContainerError", "mkdir /x: read-only file system")),
        ["mkdir /x: read-only file system"],
    ),
    Case(
        "a command that does not exist",
        Reason.CONTAINER_CANNOT_START,
        a_pod(container=crashed(128, 'exec: "igw": not found in $PATH', "StartError")),
        ['cannot start: exec: "igw": not found in $PATH', f"{LOGS} --previous"],
    ),
    *(
        Case(
            f"the runtime ends with {reason}",
            reason,
            a_pod(container=crashed(code, f"{reason}: the runtime's own words\n")),
            [f"exited with code {code}: the runtime's own words. Next: {LOGS} --previous"],
        )
        for reason, code in (
            (Reason.INVALID_SETTINGS, 78),
            (Reason.MODEL_NOT_FOUND, 66),
            (Reason.MODEL_DIGEST_MISMATCH, 65),
            (Reason.MODEL_LOAD_FAILED, 70),
            (Reason.GOLDEN_CHECK_FAILED, 70),
        )
    ),
    Case(
        "a model that cannot be fetched",
        Reason.MODEL_NOT_FOUND,
        a_pod(init=crashed(66, "ModelNotFound: s3://b/m.tar: the server answers 404 Not Found\n")),
        [
            "Container fetch of pod",
            "exited with code 66: s3://b/m.tar: the server answers 404 Not Found. Next: ",
            LOGS.replace("-c runtime", "-c fetch"),
        ],
    ),
    Case(
        "a fetched model of another digest",
        Reason.MODEL_DIGEST_MISMATCH,
        a_pod(init=crashed(65, "ModelDigestMismatch: s3://b/m.tar has sha256 00, the settings\n")),
        ["Container fetch of pod", "exited with code 65: s3://b/m.tar has sha256 00"],
    ),
    Case(
        "a Secret that the fetching needs and nobody made",
        Reason.CONTAINER_CONFIG_ERROR,
        a_pod(init=waiting("CreateContainerConfigError", 'secret "reader" not found')),
        ["Container fetch of pod", 'secret "reader" not found', DESCRIBE],
    ),
    Case(
        "a runtime that is too old to fetch",
        Reason.CRASH_LOOP,
        a_pod(init=crashed(2, "igw_runtime: error: argument COMMAND: invalid choice: 'fetch'")),
        ["exited with code 2: igw_runtime: error: argument COMMAND: invalid choice: 'fetch'"],
    ),
    Case(
        "the kernel kills a container at its memory limit",
        Reason.OUT_OF_MEMORY,
        a_pod(container=crashed(137, "", "OOMKilled")),
        ["killed at its memory limit (8Gi)", "spec.resources.limits.memory"],
    ),
    Case(
        "the kernel kills a container whose limit is not known",
        Reason.OUT_OF_MEMORY,
        a_pod(init=crashed(137, "", "OOMKilled")),
        ["killed at its memory limit; raise"],
    ),
    Case(
        "a container that crashes with a traceback",
        Reason.CRASH_LOOP,
        a_pod(container=crashed(1, "Traceback (most recent call last):\nValueError: bad\n\n")),
        ["exited with code 1: ValueError: bad. Next:", f"{LOGS} --previous"],
    ),
    Case(
        "a container whose last line is a log record",
        Reason.CRASH_LOOP,
        a_pod(container=crashed(1, '{"timestamp": "x", "event": "died", "error": "no disk"}')),
        ["exited with code 1: died: no disk. Next:"],
    ),
    Case(
        "a container whose last line is JSON, but no log record",
        Reason.CRASH_LOOP,
        a_pod(container=crashed(1, "[1, 2]")),
        ["exited with code 1: [1, 2]. Next:"],
    ),
    Case(
        "a container that crashes without a word",
        Reason.CRASH_LOOP,
        a_pod(container=crashed(139)),
        ["exited with code 139 (SIGSEGV). Next:"],
    ),
    Case(
        "a server that ends as if it were done",
        Reason.CRASH_LOOP,
        a_pod(container=crashed(0, "", "Completed")),
        ["exited with code 0. Next:"],
    ),
    Case(
        "the kubelet restarts a container that fails its liveness probe",
        Reason.PROBE_FAILING,
        a_pod(container=crashed(137)),
        ["restarted by the kubelet: Liveness probe failed: HTTP probe failed"],
        [an_event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")],
    ),
    Case(
        "a container runs long enough, and is not ready",
        Reason.PROBE_FAILING,
        a_pod(container=running(ready=False), phase="Running"),
        ["runs but is not ready: Readiness probe failed: HTTP", "statuscode: 503", LOGS],
        [
            an_event("Unhealthy", "Readiness probe failed: connection refused"),
            an_event("Unhealthy", "Readiness probe failed: HTTP statuscode: 503"),
            an_event("Unhealthy", "Readiness probe failed: other", a_pod("bbbbb")),
        ],
    ),
    Case(
        "a container became unready long ago, and no event is left",
        Reason.PROBE_FAILING,
        a_pod(
            container=running(ready=False),
            conditions=[condition("Ready", "False", "ContainersNotReady")],
        ),
        ["runs but is not ready. Next:"],
    ),
    Case(
        "no node has room",
        Reason.UNSCHEDULABLE,
        unscheduled(
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: "
            "3 No preemption victims found for incoming pod."
        ),
        ["finds no node: 0/3 nodes are available: 3 Insufficient cpu. Next:", DESCRIBE],
    ),
    Case(
        "the model's claim does not exist",
        Reason.VOLUME_CLAIM_NOT_FOUND,
        unscheduled('0/1 nodes are available: persistentvolumeclaim "models" not found.'),
        ["PersistentVolumeClaim models, which does not exist", "kubectl get pvc -n demo"],
    ),
    Case(
        "the model's claim has no volume",
        Reason.VOLUME_CLAIM_UNBOUND,
        unscheduled("0/1 nodes: pod has unbound immediate PersistentVolumeClaims."),
        ["has no volume yet", "kubectl describe pvc -n demo"],
    ),
    Case(
        "a volume cannot be mounted",
        Reason.VOLUME_MOUNT_FAILED,
        a_pod(container=waiting("ContainerCreating")),
        ['cannot mount a volume: MountVolume.SetUp failed for volume "config"', DESCRIBE],
        [
            an_event("FailedMount", "Unable to attach or mount volumes: timed out waiting"),
            an_event("FailedMount", 'MountVolume.SetUp failed for volume "config"'),
        ],
    ),
    Case(
        "a Secret that TLS needs and nobody made, of a pod that would fetch first",
        Reason.VOLUME_MOUNT_FAILED,
        a_pod(init=waiting("PodInitializing"), container=waiting("PodInitializing")),
        ['cannot mount a volume: MountVolume.SetUp failed for volume "tls": secret "photos-tls"'],
        [
            an_event(
                "FailedMount",
                'MountVolume.SetUp failed for volume "tls": secret "photos-tls" not found',
            )
        ],
    ),
    Case(
        "a pod was evicted",
        Reason.EVICTED,
        a_pod(phase="Failed", reason="Evicted", message="The node was low on memory."),
        ["ended on node node-1: Evicted: The node was low on memory. Next:"],
    ),
    Case(
        "a node does not answer",
        Reason.NODE_NOT_READY,
        a_pod(
            container=running(),
            init={"ready": False},
            conditions=[condition("Ready", "False")],
        ),
        ["is on node node-1, which does not answer", "kubectl describe node node-1"],
    ),
)


def ids(cases: Sequence[Case]) -> list[str]:
    """The sentences."""
    return [case.sentence for case in cases]


def judged(snapshot: Snapshot) -> dict[str, Any]:
    """Ready of a snapshot."""
    return ready_of(judge(snapshot, None, NOW))


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
@pytest.mark.pain(5)
def test_a_broken_pod_gives_its_reason(case: Case) -> None:
    """One stable reason, the object, the cause and the next command."""
    snapshot = replace(a_snapshot(deployment=unready(), pods=[case.pod]), events=case.events)

    ready = judged(snapshot)

    assert (ready["status"], ready["reason"]) == ("False", case.reason)
    assert [piece for piece in case.says if piece not in ready["message"]] == []


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
@pytest.mark.pain(5)
def test_the_broken_pod_is_found_among_healthy_ones(case: Case) -> None:
    """All pods are looked at, not the first one (KServe inspects only items[0])."""
    healthy = [
        a_pod(f"bbbb{n}", container=running(), phase="Running", created="2026-03-04T10:00:00Z")
        for n in range(2)
    ]
    status = unready(readyReplicas=2, availableReplicas=2)
    snapshot = a_snapshot(deployment=status, pods=[*healthy, case.pod])

    assert judged(replace(snapshot, events=case.events))["reason"] == case.reason


@pytest.mark.parametrize(
    "phase",
    [
        crashed(1, "ValueError: bad"),
        running(ready=False, since=JUST_NOW, started=False, lastState=end(1, "ValueError: bad")),
        {"ready": False, "state": end(1, "ValueError: bad")},
    ],
    ids=["backing off", "starting again", "just ended"],
)
def test_a_crash_loop_looks_the_same_in_each_of_its_phases(phase: dict[str, Any]) -> None:
    """A status that flips with every restart would be a write with every restart."""
    ready = judged(a_snapshot(deployment=unready(), pods=[a_pod(container=phase)]))

    assert ready["reason"] == Reason.CRASH_LOOP
    assert ready["message"] == (
        f"Container runtime of pod {POD} exited with code 1: ValueError: bad. "
        f"Next: {LOGS} --previous"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("dial tcp 10.0.0.9:51234->10.0.0.2:53: i/o", "dial tcp 10.0.0.9:40111->10.0.0.2:53: i/o"),
        ("2026-03-04T11:59:58.123Z no disk", "2026-03-04 11:01:00,5 no disk"),
        ("object at 0x7f01ab failed", "object at 0x7f99cd failed"),
    ],
    ids=["the port of one attempt", "a clock", "an address in memory"],
)
def test_a_message_stands_still_while_nothing_changes(first: str, second: str) -> None:
    """What differs at each attempt is not in the message."""
    messages = {
        judged(a_snapshot(deployment=unready(), pods=[a_pod(container=crashed(1, line))]))[
            "message"
        ]
        for line in (first, second)
    }

    assert len(messages) == 1


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("loading\n\x1b[31mno \x1b[1mdisk\x1b[0m\n\x1b[0m\n", "no disk"),
        ("50 %\r100 %\rno disk\x07\x00 left\n", "no disk left"),
        ("no \u202edisk\u200b", "no disk"),
        ("\x1b]0;title\x07no disk\x1b", "no disk"),
        (
            json.dumps(
                {
                    "event": "request_failed",
                    "exception": 'Traceback:\n  File "a.py", line 1\nOSError: no disk\n',
                }
            ),
            "request_failed: OSError: no disk",
        ),
        (
            "cannot GET https://me:hunter2@models.example/m?token=abc&v=2",
            "cannot GET https://…@models.example/m?token=…&v=2",
        ),
        ('{"event": "no", "error": "Authorization: Bearer eyJhbGciOi.x.y"}', "no: Authorization"),
        ("password: 'hunter2', API_KEY=abc", "password: '…', API_KEY=…"),
    ],
    ids=[
        "colours",
        "a progress bar",
        "invisible characters",
        "the title of a terminal",
        "a log record with a traceback",
        "credentials in an address",
        "a bearer token",
        "a password and a key",
    ],
)
@pytest.mark.pain(5)
def test_the_last_line_of_a_log_is_shown_clean(log: str, line: str) -> None:
    """One line of plain text, and no credential that stands in it."""
    pod = a_pod(container=crashed(1, log))

    message = judged(a_snapshot(deployment=unready(), pods=[pod]))["message"]

    assert f"exited with code 1: {line}" in message
    assert message.isprintable()
    assert not any(word in message for word in ("hunter2", "abc", "eyJ"))


def test_a_long_message_is_cut() -> None:
    """A kubelet's kilobyte does not become a status's kilobyte."""
    pod = a_pod(container=waiting("ErrImagePull", "x" * 5000))

    assert len(judged(a_snapshot(deployment=unready(), pods=[pod]))["message"]) < 500


BENIGN = {
    "a container is being created": a_pod(container=waiting("ContainerCreating")),
    "the startup probe has not passed": a_pod(container=running(ready=False, started=False)),
    "a container has just started": a_pod(container=running(ready=False, since=JUST_NOW)),
    "a container has just become unready": a_pod(
        container=running(ready=False),
        conditions=[condition("Ready", "False", since=JUST_NOW)],
    ),
    "an init container of somebody else still works": a_pod(
        init=running(ready=False) | {"name": "proxy"}
    ),
    "the scheduler has not looked yet": a_pod(),
    "a pod is scheduled and waits for its kubelet": a_pod(
        conditions=[condition("PodScheduled", "True"), condition("Ready", "False")]
    ),
    "a pod of the old revision crashes": a_pod(container=crashed(1), template_hash=OLD_HASH),
    "an old image was replaced once, and the new container is ready": a_pod(
        container=running(lastState=end(1))
    ),
}


@pytest.mark.parametrize("pod", BENIGN.values(), ids=BENIGN)
def test_a_pod_that_only_takes_time_is_no_cause(pod: Manifest) -> None:
    """Starting is not failing."""
    status = unready(conditions=[progressing("ReplicaSetUpdated")])

    ready = judged(a_snapshot(deployment=status, pods=[pod]))

    assert ready["reason"] == Reason.PROGRESSING
    assert ready["message"] == (
        "Deployment photos: 0 of 3 replicas ready. "
        "Next: kubectl rollout status deployment/photos -n demo"
    )


def test_a_model_that_is_still_fetched_is_said() -> None:
    """It may take longer than anything else, and is no failure."""
    pods = [a_pod(init={"ready": True} | end(0)), a_pod("bbbbb", init=running(ready=False))]
    status = unready(conditions=[progressing("ReplicaSetUpdated")])

    ready = judged(a_snapshot(deployment=status, pods=pods))

    assert ready["reason"] == Reason.PROGRESSING
    name = POD.replace("aaaaa", "bbbbb")
    assert ready["message"] == (
        f"Deployment photos: 0 of 3 replicas ready; pod {name} still fetches the model. "
        f"Next: kubectl logs {name} -c fetch -n demo"
    )


def test_a_volume_that_is_there_by_now_is_no_cause() -> None:
    """While a model is fetched, the events of the pod's first seconds are still there."""
    pod = a_pod(init=running(ready=False), container=waiting("PodInitializing"))
    events = [an_event("FailedMount", 'secret "photos-tls" not found')]

    snapshot = replace(a_snapshot(deployment=unready(), pods=[pod]), events=events)

    assert judged(snapshot)["reason"] == Reason.REPLICAS_STARTING


def test_a_pod_on_its_way_out_is_no_cause() -> None:
    """What a terminating pod does is not news."""
    pod = a_pod(container=crashed(1))
    pod["metadata"]["deletionTimestamp"] = LONG_AGO

    assert judged(a_snapshot(deployment=unready(), pods=[pod]))["reason"] == (
        Reason.REPLICAS_STARTING
    )


def test_every_pair_of_causes_is_ranked() -> None:
    """The worse of two causes is the reason, in whatever order the pods come."""
    by_reason = {case.reason: case for case in CASES}
    ranked = [by_reason[reason] for reason in SEVERITY if reason in by_reason]

    for worse, better in pairwise(ranked):
        worse_pod = worse.pod | {"metadata": worse.pod["metadata"] | {"name": POD}}
        name = POD.replace("aaaaa", "zzzzz")
        better_pod = better.pod | {"metadata": better.pod["metadata"] | {"name": name}}
        for pods in ([worse_pod, better_pod], [better_pod, worse_pod]):
            snapshot = a_snapshot(deployment=unready(), pods=pods)
            events = [
                *worse.events,
                *(it | {"involvedObject": {"name": name}} for it in better.events),
            ]

            assert judged(replace(snapshot, events=events))["reason"] == worse.reason


def test_of_equal_offenders_the_oldest_speaks() -> None:
    """The message does not jump to whichever pod the cache lists first."""
    younger = a_pod("aaaaa", container=crashed(1), created="2026-03-04T11:30:00Z")
    older = a_pod("zzzzz", container=crashed(1))

    messages = {
        judged(a_snapshot(deployment=unready(), pods=pods))["message"]
        for pods in ([younger, older], [older, younger])
    }

    assert len(messages) == 1
    assert "zzzzz" in messages.pop()
