"""Why a workload is not ready: the worst offender among all pods of its current revision.

Called for the server and for the managed collector. Every pod, every container and every
failure to make a pod is asked; `SEVERITY` ranks the answers, and among equals the oldest
pod speaks, so that the reason does not jump while nothing has changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from igw_operator.judge import prose
from igw_operator.judge.containers import Suspect, check_container
from igw_operator.judge.finding import Finding
from igw_operator.judge.pods import Container, Pod
from igw_operator.judge.reasons import SEVERITY, Reason
from igw_operator.judge.workload import Workload

PROBE_GRACE: Final = timedelta(seconds=30)
"""How long a started container may fail its readiness probe before that is the reason."""

# What the kubelet says of containers until all volumes are there, the second with init containers.
_BEFORE_ANY: Final = frozenset({"ContainerCreating", "PodInitializing"})
_RANK: Final = {reason: rank for rank, reason in enumerate(SEVERITY)}
_NOT_FOUND_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')


def diagnose(workload: Workload, now: datetime) -> Finding | None:
    """The worst thing known about the workload, or None where nothing is known to be wrong."""
    findings = [*_check_creation(workload), *_check_pods(workload, now), *_check_rollout(workload)]
    # min() keeps the first of equals, and pods come oldest first.
    return min(findings, key=lambda finding: _RANK[finding.reason], default=None)


def _check_creation(workload: Workload) -> Iterable[Finding]:
    for describe, message in workload.creation_failures:
        command = describe
        if "violates PodSecurity" in message:
            reason = Reason.POD_SECURITY_VIOLATION
        elif "exceeded quota" in message or "failed quota" in message:
            reason = Reason.QUOTA_EXCEEDED
            command = f"kubectl describe resourcequota -n {workload.namespace}"
        else:
            reason = Reason.POD_CREATION_FAILED
        text = f"Pods of deployment {workload.name} cannot be created: {prose.tidy(message)}"
        yield Finding(reason=reason, text=text, command=command)


def _check_rollout(workload: Workload) -> Iterable[Finding]:
    where = f"deployment/{workload.name} -n {workload.namespace}"
    if workload.is_paused:
        yield Finding(
            reason=Reason.ROLLOUT_PAUSED,
            text=f"Deployment {workload.name} is paused, its pods stay as they are",
            command=f"kubectl rollout resume {where}",
        )
    if workload.has_exceeded_its_deadline:
        yield Finding(
            reason=Reason.PROGRESS_DEADLINE_EXCEEDED,
            text=f"Deployment {workload.name} made no progress within its deadline, "
            "and no pod says why",
            command=f"kubectl describe {where}",
        )


def _check_pods(workload: Workload, now: datetime) -> Iterable[Finding]:
    for pod in workload.pods:
        yield from _check_scheduling(pod)
        yield from _check_placement(pod)
        suspect = Suspect(pod=pod, events=workload.events)
        yield from _check_mounts(suspect)
        for container in pod.containers:
            finding = check_container(suspect, container)
            if finding is not None:
                yield finding
        yield from _check_readiness(suspect, now)


def _check_scheduling(pod: Pod) -> Iterable[Finding]:
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is None or scheduled.status != "False":
        return
    claim = _NOT_FOUND_CLAIM.search(scheduled.message)
    if claim is not None:
        yield Finding(
            reason=Reason.VOLUME_CLAIM_NOT_FOUND,
            text=f"Pod {pod.name} needs PersistentVolumeClaim {claim[1]}, which does not exist",
            command=f"kubectl get pvc -n {pod.namespace}",
        )
    elif "unbound immediate PersistentVolumeClaims" in scheduled.message:
        yield Finding(
            reason=Reason.VOLUME_CLAIM_UNBOUND,
            text=f"Pod {pod.name} waits for a PersistentVolumeClaim that has no volume yet",
            command=f"kubectl describe pvc -n {pod.namespace}",
        )
    else:
        yield Finding(
            reason=Reason.UNSCHEDULABLE,
            text=f"Pod {pod.name} finds no node: {prose.tidy(scheduled.message)}",
            command=pod.describe,
        )


def _check_placement(pod: Pod) -> Iterable[Finding]:
    """A pod that lost its node, or that its node gave up."""
    if pod.phase == "Failed":
        yield Finding(
            reason=Reason.EVICTED,
            text=f"Pod {pod.name} was ended on node {pod.node}: "
            f"{prose.tidy(f'{pod.reason}: {pod.message}')}",
            command=pod.describe,
        )
        return
    ready = pod.conditions.get("Ready")
    # Only a kubelet sets a container unready; the node controller can set just the pod so.
    if ready is not None and ready.status == "False" and _all_containers_are_ready(pod):
        yield Finding(
            reason=Reason.NODE_NOT_READY,
            text=f"Pod {pod.name} is on node {pod.node}, which does not answer",
            command=f"kubectl describe node {pod.node}",
        )


def _all_containers_are_ready(pod: Pod) -> bool:
    states = [container.ready for container in pod.containers if not container.is_init]
    return bool(states) and all(states)


def _check_mounts(suspect: Suspect) -> Iterable[Finding]:
    pod = suspect.pod
    waits = {container.waiting_reason for container in pod.containers}
    # Nothing has begun: what was said of a mount before that is over.
    if waits.isdisjoint(_BEFORE_ANY) or any(it.running_since is not None for it in pod.containers):
        return
    messages = [*suspect.messages("FailedMount"), *suspect.messages("FailedAttachVolume")]
    if messages:
        # "timed out waiting for the condition" says nothing that another message does not.
        message = min(messages, key=lambda text: "timed out" in text)
        yield Finding(
            reason=Reason.VOLUME_MOUNT_FAILED,
            text=f"Pod {pod.name} cannot mount a volume: {prose.tidy(message)}",
            command=pod.describe,
        )


def _failing_their_probe(pod: Pod) -> list[Container]:
    """Containers that have started, and are not ready. A startup probe's time does not count."""
    return [
        container
        for container in pod.containers
        if container.running_since is not None
        and container.started
        and not container.ready
        and not container.is_init
    ]


def _probe_grace_ends(pod: Pod, failing: Sequence[Container]) -> datetime:
    """Counted from the last start, or from when the pod became unready after that."""
    starts = [it.running_since for it in failing if it.running_since is not None]
    ready = pod.conditions.get("Ready")
    return max([*starts, ready.since] if ready is not None else starts) + PROBE_GRACE


def _check_readiness(suspect: Suspect, now: datetime) -> Iterable[Finding]:
    pod = suspect.pod
    failing = _failing_their_probe(pod)
    if not failing or now < _probe_grace_ends(pod, failing):
        return
    answer = suspect.probe_answer("Readiness")
    for container in failing:
        yield Finding(
            reason=Reason.PROBE_FAILING,
            text=f"Container {container.name} of pod {pod.name} runs but is not ready"
            + (f": {answer}" if answer else ""),
            command=pod.logs(container),
        )
