"""RolloutHeld: whether a change of the pods is waiting for permission."""

from __future__ import annotations

from igw_operator.judge.finding import Truth, Verdict, say
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Snapshot
from igw_operator.plan.assignment import Hold


def judge_rollout(snapshot: Snapshot) -> Verdict:
    """Whether a template change is waiting for permission."""
    runtime, assignment = snapshot.runtime, snapshot.assignment
    if snapshot.hold is None or runtime is None or assignment is None:
        text = "No change of the pods is being held back"
        return say(Truth.FALSE, Reason.NOT_HELD, text)
    look = f"kubectl get igwr {runtime.name} -o wide"
    if snapshot.hold is Hold.OPERATOR:
        text = (
            "This version of the operator builds other pods; those that run stay until "
            f"InferenceRuntime {runtime.name} changes, or its spec.rollout.operatorChanges is Roll"
        )
        return say(Truth.TRUE, Reason.OPERATOR_CHANGE, text, look)
    text = (
        f"InferenceRuntime {runtime.name} changes from revision {assignment.revision.id} "
        f"(image {assignment.revision.image}) to {assignment.target.id} "
        f"(image {assignment.target.image})"
    )
    if snapshot.hold is Hold.PAUSE:
        text = f"{text}, and its rollout is paused"
        return say(Truth.TRUE, Reason.WAVES_PAUSED, text, look)
    text = f"{text}, and this gateway's wave has not begun"
    return say(Truth.TRUE, Reason.AWAITING_WAVE, text, look)
