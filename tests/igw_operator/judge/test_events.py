"""Which changes of a status become Kubernetes Events."""

from __future__ import annotations

from typing import Any

import pytest

from igw_operator.judge.events import EventDraft, transitions
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities
from scenes import NOW, a_pod, a_snapshot, crashed, deployment_status, progressing, unready, waiting

CRASH = crashed(1, "ValueError: bad")
WELL = a_snapshot()
STARTING = a_snapshot(deployment=unready(conditions=[progressing("ReplicaSetUpdated")]))
CRASHING = a_snapshot(deployment=unready(), pods=[a_pod(container=CRASH)])
ONE_CRASHING = a_snapshot(
    deployment=deployment_status(3, readyReplicas=2, availableReplicas=2),
    pods=[a_pod(container=CRASH)],
)
SCALING_UP = a_snapshot(deployment=deployment_status(4, readyReplicas=3), replicas=4)
BARE = a_snapshot(capabilities=Capabilities(service_monitors=True, prometheus_rules=True))
PULLING = a_snapshot(
    deployment=unready(), pods=[a_pod(container=waiting("ErrImagePull", "not found"))]
)
GAVE_UP = a_snapshot(
    deployment=unready(conditions=[progressing("ProgressDeadlineExceeded", "False")]),
    pods=PULLING.pods,
)

TRANSITIONS: dict[str, tuple[Snapshot | None, Snapshot, list[tuple[str, str]]]] = {
    "nothing changed": (WELL, WELL, []),
    "a new gateway only starts": (None, STARTING, []),
    "a new gateway works at once": (None, WELL, [("Normal", "Serving")]),
    "a rollout succeeds": (STARTING, WELL, [("Normal", "Serving")]),
    "a rollout begins": (WELL, STARTING, []),
    "a rollout fails": (STARTING, CRASHING, [("Warning", "CrashLoop")]),
    "a failed rollout is repaired": (CRASHING, WELL, [("Normal", "Serving")]),
    "one cause follows another": (CRASHING, PULLING, [("Warning", "ImagePullFailed")]),
    "a cause is gone and the next try starts": (CRASHING, STARTING, []),
    "the autoscaler's daily work": (SCALING_UP, WELL, []),
    "the last replica falls": (ONE_CRASHING, CRASHING, [("Warning", "CrashLoop")]),
    "the first replica is back": (CRASHING, ONE_CRASHING, [("Normal", "PartialCapacity")]),
    "patience ends": (PULLING, GAVE_UP, [("Warning", "ImagePullFailed")]),
    "a metrics API vanishes": (WELL, BARE, [("Warning", "CustomMetricsUnavailable")]),
    "a metrics API appears": (BARE, WELL, [("Normal", "Autoscaling")]),
}


def status_of(snapshot: Snapshot | None) -> dict[str, Any] | None:
    """The status, if there is any world."""
    return None if snapshot is None else judge(snapshot, None, NOW)


@pytest.mark.parametrize(("old", "new", "drafts"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_a_transition_makes_at_most_one_event_a_reason(
    old: Snapshot | None, new: Snapshot, drafts: list[tuple[str, str]]
) -> None:
    """Trouble, its end, and the first success; never the way between."""
    found = transitions(status_of(old), judge(new, None, NOW))

    assert [(draft.type, draft.reason) for draft in found] == drafts


def test_an_events_note_is_the_conditions_message() -> None:
    """`kubectl describe` shows the same words in both places."""
    (draft,) = transitions(status_of(STARTING), judge(CRASHING, None, NOW))

    assert draft == EventDraft(
        type="Warning",
        reason="CrashLoop",
        note="Ready is False: Container runtime of pod photos-6d4cf56db6-aaaaa exited with code "
        "1: ValueError: bad. Next: kubectl logs photos-6d4cf56db6-aaaaa -c runtime -n demo "
        "--previous",
    )


def test_a_held_rollout_is_a_warning_and_its_end_is_not() -> None:
    """RolloutHeld is abnormal when True."""
    free = {"conditions": [held("False", "NotHeld")]}
    stuck = {"conditions": [held("True", "ErrorBudgetExhausted")]}

    assert [it.type for it in transitions(free, stuck)] == ["Warning"]
    assert [it.type for it in transitions(stuck, free)] == ["Normal"]


def held(status: str, reason: str) -> dict[str, str]:
    """A RolloutHeld condition."""
    return {"type": "RolloutHeld", "status": status, "reason": reason, "message": "x"}


def test_a_note_fits_into_an_event() -> None:
    """events.k8s.io/v1 takes 1 KiB."""
    entry = {"type": "Ready", "status": "False", "reason": "InvalidSpec", "message": "x" * 5000}

    (draft,) = transitions(None, {"conditions": [entry]})

    assert len(draft.note) == 1024
