"""Which revision of its runtime a gateway is built from, now.

Called for each gateway in each pass. It is the reading side of `plan.rollout`: what that has
written into the runtime's status decides, together with what the gateway has already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from igw_operator.api.objects import Gateway, Runtime
from igw_operator.plan.revision import Recorded, Revision, revision_of
from igw_operator.plan.rollout import State, is_admitted, rank


class Hold(StrEnum):
    """Why a change of a gateway's pods waits."""

    WAVE = "Wave"  # its wave has not begun
    PAUSE = "Pause"  # the runtime's rollout is paused
    OPERATOR = "Operator"  # only a new version of the operator wants it


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a gateway is built from."""

    revision: Revision
    target: Revision
    """What it will be built from in the end."""
    hold: Hold | None = None
    """Why it is not built from the target yet."""


def assign(
    gateway: Gateway,
    runtime: Runtime,
    state: State | None,
    recorded: Recorded | None,
    template: str,
) -> Assignment:
    """The gateway's revision; ``template`` is the digest of the operator at work.

    A gateway that is not admitted keeps what it has, even if that is neither the target nor
    its predecessor: each rollout restarts it once, or not at all.
    """
    has = recorded.revision if recorded and recorded.runtime in {"", runtime.name} else None
    if state is None:
        # The runtime's own pass comes first; until then nobody moves.
        target = revision_of(runtime.spec, template)
        return Assignment(revision=has or target, target=target)
    known = {it.id: it.models for it in (state.proven, state.target) if it is not None}
    # A move to this runtime is its owner's wish, and waits for nobody's leave.
    kept = has or state.proven or state.target
    kept = replace(kept, models=known.get(kept.id, ()))
    if kept == state.target:
        return Assignment(revision=state.target, target=state.target)
    waves = runtime.spec.rollout.waves
    if not is_admitted(state, waves, rank=rank(gateway.uid), labels=gateway.labels):
        return Assignment(revision=kept, target=state.target, hold=Hold.WAVE)
    if runtime.spec.rollout.paused and has is not None:
        return Assignment(revision=kept, target=state.target, hold=Hold.PAUSE)
    return Assignment(revision=state.target, target=state.target)
