"""Creating pods, telling revisions apart, and what only takes time: the Deployment's own part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.status import judge
from scenes import (
    DEPLOYMENT,
    NOW,
    a_pod,
    a_replica_set,
    a_snapshot,
    condition,
    crashed,
    deployment_status,
    progressing,
    ready_of,
    unready,
    with_child,
)

FORBIDDEN = 'pods "photos-6d4cf56db6-x7k2p" is forbidden: '


def judged(snapshot: Snapshot) -> dict[str, Any]:
    """Ready of a snapshot."""
    return ready_of(judge(snapshot, None, NOW))


@pytest.mark.parametrize(
    ("message", "reason", "says"),
    [
        (
            (
                f"{FORBIDDEN}exceeded quota: tiny, requested: limits.cpu=4,limits.memory=8Gi, "
                "used: limits.cpu=8,limits.memory=16Gi, limited: limits.cpu=10,limits.memory=20Gi"
            ),
            Reason.QUOTA_EXCEEDED,
            (
                "exceeded quota: tiny, requested: limits.cpu=4,limits.memory=8Gi, limited: "
                "limits.cpu=10,limits.memory=20Gi. Next: kubectl describe resourcequota -n demo"
            ),
        ),
        (
            f'{FORBIDDEN}violates PodSecurity "restricted:latest": runAsNonRoot != true',
            Reason.POD_SECURITY_VIOLATION,
            'cannot be created: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        ),
        (
            f'{FORBIDDEN}error looking up service account demo/photos: serviceaccount "photos"',
            Reason.POD_CREATION_FAILED,
            "Next: kubectl describe replicaset photos-6d4cf56db6 -n demo",
        ),
    ],
    ids=["a quota", "Pod Security", "anything else"],
)
def test_pods_that_cannot_be_created(message: str, reason: Reason, says: str) -> None:
    """The ReplicaSet's complaint is the reason; the pod's random name is not in it."""
    snapshot = a_snapshot(deployment=unready(replicas=0, updatedReplicas=0))
    failure = condition("ReplicaFailure", "True", "FailedCreate", message)
    replica_set = a_replica_set(snapshot.children[DEPLOYMENT], conditions=[failure])

    ready = judged(replace(snapshot, replica_sets=[replica_set]))

    assert ready["reason"] == reason
    assert says in ready["message"]
    assert "x7k2p" not in ready["message"]


def test_without_a_replica_set_the_deployment_speaks() -> None:
    """Its ReplicaSet may not be in the cache yet."""
    failure = condition("ReplicaFailure", "True", "FailedCreate", "no PriorityClass with name x")
    snapshot = a_snapshot(deployment=unready(conditions=[failure]))

    ready = judged(replace(snapshot, replica_sets=[]))

    assert ready["reason"] == Reason.POD_CREATION_FAILED
    assert "kubectl describe deployment photos -n demo" in ready["message"]


def test_a_creation_that_failed_once_is_forgotten_when_it_works() -> None:
    """A condition that says False is no complaint."""
    snapshot = a_snapshot(deployment=unready())
    failure = condition("ReplicaFailure", "False", "", "")
    replica_set = a_replica_set(snapshot.children[DEPLOYMENT], conditions=[failure])

    assert judged(replace(snapshot, replica_sets=[replica_set]))["reason"] == (
        Reason.REPLICAS_STARTING
    )


def test_pods_of_all_replica_sets_of_the_current_template_count() -> None:
    """Two ReplicaSets can have one template after a hash collision."""
    snapshot = a_snapshot(
        deployment=unready(), pods=[a_pod(container=crashed(1), template_hash="other")]
    )
    live = snapshot.children[DEPLOYMENT]

    ready = judged(
        replace(snapshot, replica_sets=[a_replica_set(live), a_replica_set(live, "other")])
    )

    assert ready["reason"] == Reason.CRASH_LOOP


def test_a_replica_set_of_somebody_else_does_not_count() -> None:
    """A copy of a Deployment by other hands has the same template."""
    snapshot = a_snapshot(deployment=unready(), pods=[a_pod(container=crashed(1))])
    foreign = a_replica_set(snapshot.children[DEPLOYMENT])
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"

    assert judged(replace(snapshot, replica_sets=[foreign]))["reason"] == Reason.REPLICAS_STARTING


def test_a_deadline_without_a_cause_is_the_reason() -> None:
    """Where no pod says why, the Deployment's own verdict stands."""
    ready = judged(
        a_snapshot(
            deployment=unready(conditions=[progressing("ProgressDeadlineExceeded", "False")])
        )
    )

    assert ready["reason"] == Reason.PROGRESS_DEADLINE_EXCEEDED
    assert "kubectl describe deployment/photos -n demo" in ready["message"]


def test_a_paused_deployment_says_so() -> None:
    """`kubectl rollout pause` is by hand, and its end is too."""
    snapshot = a_snapshot()
    live = snapshot.children[DEPLOYMENT]
    paused = live | {"spec": live["spec"] | {"paused": True}}

    ready = judged(with_child(snapshot, DEPLOYMENT, paused))

    assert ready["reason"] == Reason.ROLLOUT_PAUSED
    assert "kubectl rollout resume deployment/photos -n demo" in ready["message"]


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (
            deployment_status(3, replicas=4, updatedReplicas=1),
            Reason.PROGRESSING,
            "1 of 3 replicas up to date, 3 outdated, 3 available",
        ),
        (
            deployment_status(3, replicas=4),
            Reason.PROGRESSING,
            "3 of 3 replicas up to date, 1 outd",
        ),
        (
            deployment_status(3, readyReplicas=2, availableReplicas=2),
            Reason.REPLICAS_STARTING,
            "2 of 3 replicas ready",
        ),
        (
            deployment_status(3, availableReplicas=1),
            Reason.REPLICAS_STARTING,
            "3 replicas ready, 1 for long enough",
        ),
        (deployment_status(3, observedGeneration=0), Reason.PROGRESSING, "not been picked up yet"),
        (
            deployment_status(3, conditions=[progressing("ReplicaSetUpdated")]),
            Reason.PROGRESSING,
            "has yet to say that it is complete",
        ),
        (
            deployment_status(3, conditions=[progressing(), condition("Available", "False")]),
            Reason.REPLICAS_STARTING,
            "has yet to say that it is complete",
        ),
        ({"observedGeneration": 1}, Reason.PROGRESSING, "0 of 3 replicas up to date"),
    ],
    ids=[
        "a rollout is half way",
        "an old replica is left",
        "a replica is being replaced",
        "replicas are not available for long enough",
        "the controller has not seen the last change",
        "the controller is not content yet",
        "the controller does not call it available yet",
        "nothing has happened yet",
    ],
)
def test_what_only_takes_time_is_told_in_numbers(
    status: dict[str, Any], reason: Reason, says: str
) -> None:
    """Progress is a message, and not a reason that changes."""
    ready = judged(a_snapshot(deployment=status))

    assert ready["reason"] == reason
    assert says in ready["message"]
