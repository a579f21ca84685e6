"""What one gateway means for the wave that it is in: the gate of a rollout.

`plan.rollout` asks it of each admitted gateway. Further evidence, such as the speed at which
the error budget burns, is to be weighed here and nowhere else.
"""

from __future__ import annotations

from igw_operator.api.fields import render_time
from igw_operator.judge.reasons import WAITING, Reason
from igw_operator.plan.rollout import Gate, Member, State


def judge_member(member: Member, state: State) -> Gate:
    """Whether a gateway lets its wave pass."""
    if member.revision != state.target.id:
        return _judge_unmoved(member, state)
    if not member.ready_before:
        # It was broken before, or new: it proves nothing, and must not hold up all the others.
        return Gate.PASS
    if not member.is_current:
        return Gate.BUSY if member.served else Gate.WAIT
    if member.is_ready or member.reason == Reason.INVALID_SPEC:
        # An invalid spec is its owner's; what serves goes on serving.
        return Gate.PASS
    if member.reason in WAITING:
        return Gate.BUSY if member.served else Gate.WAIT
    return Gate.FAIL


def _judge_unmoved(member: Member, state: State) -> Gate:
    """It was told to move and has not: it is about to, or it cannot."""
    if not member.is_stalled:
        return Gate.WAIT
    if not member.is_current:
        return Gate.BUSY
    was_broken = member.since < render_time(state.wave_started)
    if was_broken or member.reason == Reason.INVALID_SPEC:
        return Gate.PASS
    # It was well until it was told to move: the API server refuses the new pods, or the new
    # image lacks its model.
    return Gate.FAIL
