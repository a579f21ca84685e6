"""The status of an InferenceRuntime: can it be used, by whom is it, and how far is its rollout?

Ready means that every gateway on it has taken what the spec says, and every wave was kept:
`kubectl wait --for=condition=Ready igwr/NAME` waits for the end of a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from igw_operator import conventions
from igw_operator.api.fields import render_time
from igw_operator.api.objects import Runtime
from igw_operator.api.status import RevisionStatus, RolloutStatus, RuntimeStatus, as_status
from igw_operator.errors import SpecError
from igw_operator.judge.conditions import ConditionType, build_conditions
from igw_operator.judge.events import EventDraft
from igw_operator.judge.finding import Finding, Truth, Verdict
from igw_operator.judge.prose import counted
from igw_operator.judge.reasons import Reason
from igw_operator.plan.revision import Revision
from igw_operator.plan.rollout import Member, State, Step


def judge_runtime(
    manifest: Mapping[str, Any],
    spec_error: SpecError | None,
    gateway_count: int,
    previous: Mapping[str, Any] | None,
    now: datetime,
    *,
    other_defaults: Sequence[str] = (),
    runtime: Runtime | None = None,
    step: Step | None = None,
    template: str = "",
) -> dict[str, Any]:
    """The complete new status, in the API server's own form.

    ``other_defaults`` are the names of further runtimes that are marked as default, where
    this one is; ``step`` is the last look at the rollout of ``runtime``, None where the spec
    is invalid; ``template`` is the digest of the operator at work.
    """
    metadata, before = manifest["metadata"], previous or {}
    generation = metadata.get("generation", 0)
    verdicts = _judge(metadata["name"], spec_error, other_defaults)
    if runtime is not None and step is not None:
        rolling = _judge_rollout(runtime, step, gateway_count, template)
        # What keeps gateways from using the runtime is graver than a rollout of it.
        verdicts = (
            {**rolling, **verdicts}
            if ConditionType.STALLED in verdicts
            else {
                **verdicts,
                **rolling,
            }
        )
    conditions = build_conditions(verdicts, previous=before, generation=generation, now=now)
    held, ready = verdicts[ConditionType.ROLLOUT_HELD], verdicts[ConditionType.READY]
    told = next((it for it in (ready, held) if _is_news(it)), None)
    status = RuntimeStatus(
        observed_generation=generation,
        gateways=gateway_count,
        updated=step.updated if step is not None else int(before.get("updated") or 0),
        rollout=None if step is None else _as_status(step.state),
        wave=None if step is None else _name_wave(step.state),
        message=None if told is None else told.finding.message,
        conditions=conditions,
    )
    written = as_status(status)
    if step is None and "rollout" in before:
        written["rollout"] = before["rollout"]
    return written


def find_steps(name: str, before: State | None, after: Step) -> list[EventDraft]:
    """The events of a rollout that went on; its holds are transitions of a condition."""
    state = after.state
    if before is None or before == state:
        return []
    if before.target != state.target:
        if state.is_complete:
            return [_note("RolledBack", f"{name} goes back to {_name(state.target)} at once")]
        drafts = [_note("RolloutStarted", f"{name} changes to {_name(state.target)}")]
        return [*drafts, *_tell_wave(name, after)]
    if state.is_complete and not before.is_complete:
        return [_note("RolloutComplete", f"{name} runs {_name(state.target)} everywhere")]
    return _tell_wave(name, after) if before.wave != state.wave else []


def _tell_wave(name: str, step: Step) -> list[EventDraft]:
    state = step.state
    if state.wave == 0 or state.is_complete:
        return []
    who = counted(step.admitted, "gateway")
    return [_note("WaveStarted", f"{name}: wave {state.wave} of {state.waves}, {who} so far")]


def _note(reason: str, note: str) -> EventDraft:
    return EventDraft(type="Normal", reason=reason, note=f"InferenceRuntime {note}")


def _is_news(verdict: Verdict) -> bool:
    return verdict.finding.reason not in {Reason.ACCEPTED, Reason.NOT_HELD}


def _judge(
    name: str, error: SpecError | None, other_defaults: Sequence[str]
) -> dict[ConditionType, Verdict]:
    if error is not None:
        return _stalled(
            Finding(
                reason=Reason.INVALID_SPEC, text=str(error), command=f"kubectl edit igwr {name}"
            )
        )
    if other_defaults:
        names = ", ".join(sorted({name, *other_defaults}))
        return _stalled(
            Finding(
                reason=Reason.AMBIGUOUS_DEFAULT,
                text=f"{names} are all marked as default: a gateway without runtimeRef gets none",
                command=f"kubectl annotate igwr {name} {conventions.ANNOTATION_DEFAULT_RUNTIME}-",
            )
        )
    finding = Finding(reason=Reason.ACCEPTED, text=f"InferenceRuntime {name} can be used")
    return {ConditionType.READY: Verdict(truth=Truth.TRUE, finding=finding), **_not_held()}


def _stalled(finding: Finding) -> dict[ConditionType, Verdict]:
    return {
        ConditionType.READY: Verdict(truth=Truth.FALSE, finding=finding),
        ConditionType.STALLED: Verdict(truth=Truth.TRUE, finding=finding),
        **_not_held(),
    }


def _not_held() -> dict[ConditionType, Verdict]:
    finding = Finding(reason=Reason.NOT_HELD, text="No rollout is being held back")
    return {ConditionType.ROLLOUT_HELD: Verdict(truth=Truth.FALSE, finding=finding)}


def _judge_rollout(
    runtime: Runtime, step: Step, gateways: int, template: str
) -> dict[ConditionType, Verdict]:
    held = _find_hold(runtime, step, gateways, template)
    verdicts = _not_held()
    if held is not None:
        verdicts[ConditionType.ROLLOUT_HELD] = Verdict(truth=Truth.TRUE, finding=held)
    if step.is_rolling:
        finding = held or _tell_progress(runtime, step, gateways)
        verdicts[ConditionType.READY] = Verdict(truth=Truth.FALSE, finding=finding)
        verdicts[ConditionType.RECONCILING] = Verdict(truth=Truth.TRUE, finding=finding)
    return verdicts


def _find_hold(runtime: Runtime, step: Step, gateways: int, template: str) -> Finding | None:
    name, target = runtime.name, step.state.target
    if step.failing:
        worst = min(step.failing, key=lambda member: member.key)
        return Finding(
            reason=Reason.GATEWAY_FAILING,
            text=f"Gateway {worst.key} is not Ready with {_name(target)}: "
            f"{worst.reason}{_and_more(step.failing)}",
            command=f"kubectl describe igw {worst.key.name} -n {worst.key.namespace}",
        )
    if step.is_paused:
        return Finding(
            reason=Reason.WAVES_PAUSED,
            text=f"spec.rollout.paused is true: {step.updated} of {counted(gateways, 'gateway')} "
            f"run {_name(target)}",
            command=f"kubectl patch igwr {name} --type=merge "
            """-p '{"spec":{"rollout":{"paused":false}}}'""",
        )
    is_old = target.template not in {"", template}
    if is_old and gateways and runtime.spec.rollout.operator_changes == "Hold":
        return Finding(
            reason=Reason.OPERATOR_CHANGE,
            text="This version of the operator builds other pods; gateways keep theirs until "
            "the runtime changes, or spec.rollout.operatorChanges is Roll",
            command=f"kubectl edit igwr {name}",
        )
    return None


def _tell_progress(runtime: Runtime, step: Step, gateways: int) -> Finding:
    state = step.state
    text = f"{step.updated} of {counted(gateways, 'gateway')} run {_name(state.target)}"
    if not state.is_complete:
        text = f"Wave {state.wave} of {state.waves}: {text}"
    if step.waiting:
        first = min(step.waiting, key=lambda member: member.key)
        why = f" ({first.reason})" if first.reason and not first.is_ready else ""
        text = f"{text}; waits for {first.key}{why}{_and_more(step.waiting)}"
    elif state.soaking_since is not None:
        soak = timedelta(seconds=float(runtime.spec.rollout.soak_seconds))
        text = f"{text}; soaks until {render_time(state.soaking_since + soak)}"
    return Finding(
        reason=Reason.ROLLING_OUT,
        text=text,
        command=f"kubectl get igwr {runtime.name} -o wide -w",
    )


def _and_more(members: Sequence[Member]) -> str:
    return f", and {len(members) - 1} more" if len(members) > 1 else ""


def _name(revision: Revision) -> str:
    return f"revision {revision.id} (image {revision.image})"


def _name_wave(state: State) -> str | None:
    return None if state.is_complete else f"{state.wave}/{state.waves}"


def _as_status(state: State) -> RolloutStatus:
    soaking = state.soaking_since
    return RolloutStatus(
        target=_as_revision(state.target),
        proven=None if state.proven is None else _as_revision(state.proven),
        wave=state.wave,
        waves=state.waves,
        cutoff=state.cutoff,
        started_at=render_time(state.started),
        wave_started_at=render_time(state.wave_started),
        soaking_since=None if soaking is None else render_time(soaking),
    )


def _as_revision(revision: Revision) -> RevisionStatus:
    return RevisionStatus(
        id=revision.id,
        image=revision.image,
        image_pull_policy=revision.image_pull_policy,
        image_pull_secrets=revision.image_pull_secrets,
        collector_image=revision.collector_image,
        template=revision.template,
        models=revision.models,
    )
