"""The rollout of a changed runtime across its gateways, wave by wave, as one pure step.

`step` looks at the runtime's spec, the state that was written down and every gateway on the
runtime, and gives the next state; it is called again whenever one of these has changed. The
state has the same size for three gateways and for five thousand: who is admitted follows
from it (`is_admitted`), and what a gateway runs stands on its own Deployment. Nothing is
remembered between two steps but the state, so a new operator goes on where the old one died.

What makes a gateway good enough is not decided here: `Judge` says it (`judge.member`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any, Final

from igw_operator.api.objects import ObjectKey
from igw_operator.api.runtime import RuntimeSpec, Wave
from igw_operator.plan.revision import Revision, parse_revision, revision_of

# 48 bits: no two of some thousand gateways share a rank, and JSON readers keep it exact.
_RANK_DIGITS: Final = 12
# A gateway may have nothing new to say after a restart of the operator: then nobody calls.
_LOOK_SECONDS: Final = 5.0


def rank(uid: str) -> int:
    """A gateway's place in the queue for percentages: even, and the same in every rollout."""
    return int(hashlib.sha256(uid.encode()).hexdigest()[:_RANK_DIGITS], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One gateway on the runtime, as its own status tells it."""

    key: ObjectKey
    rank: int
    labels: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    """The id of the revision that its pods are asked to run; empty: not known."""
    is_ready: bool = False
    reason: str = ""
    """The reason of its Ready condition."""
    since: str = ""
    """When Ready last flipped, in RFC 3339."""
    is_stalled: bool = False
    is_current: bool = True
    """Whether its status speaks of its latest spec, and was judged by this process."""
    ready_before: bool = False
    """Whether it was Ready just before it took its revision."""
    served: bool = False
    """Whether it has been Ready on its revision."""


class Gate(StrEnum):
    """What one admitted gateway means for its wave."""

    PASS = "Pass"  # noqa: S105 - good, or no evidence against the revision
    BUSY = "Busy"  # it served with the revision and is busy: no next wave now, the soak goes on
    WAIT = "Wait"  # not there yet: the soak has not begun
    FAIL = "Fail"  # the revision may be to blame: hold


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a rollout has come; `status.rollout` of the runtime."""

    target: Revision
    proven: Revision | None
    """The last revision that was rolled out completely; equal to target when no rollout is on."""
    wave: int
    """Counted from 1; 0: none has begun."""
    waves: int
    """With the one of all the rest."""
    cutoff: int
    """Every gateway of a lower rank is admitted. Grows only, within one rollout."""
    started: datetime
    wave_started: datetime
    soaking_since: datetime | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no rollout is on: every gateway is admitted to the target."""
        return self.proven == self.target


Judge = Callable[[Member, State], Gate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one look at a rollout came to."""

    state: State
    updated: int
    """Gateways that have the target."""
    is_rolling: bool = False
    """Whether gateways have still to move, or to prove themselves."""
    is_paused: bool = False
    """Whether they would, if they were let."""
    failing: tuple[Member, ...] = ()
    """Those that hold the rollout."""
    waiting: tuple[Member, ...] = ()
    """Those that the wave waits for."""
    admitted: int = 0
    """Gateways that may move, with those that have."""
    again_seconds: float | None = None
    """When to look again, though nothing has changed."""


def parse_state(record: Mapping[str, Any]) -> State | None:
    """The state as it was written down; None where it is missing or cannot be trusted."""
    target = parse_revision(record.get("target"))
    try:
        if target is None:
            return None
        soaking = record.get("soakingSince")
        return State(
            target=target,
            proven=parse_revision(record.get("proven")),
            wave=int(record["wave"]),
            waves=int(record["waves"]),
            cutoff=int(record["cutoff"]),
            started=datetime.fromisoformat(record["startedAt"]),
            wave_started=datetime.fromisoformat(record["waveStartedAt"]),
            soaking_since=datetime.fromisoformat(soaking) if soaking else None,
        )
    except (KeyError, TypeError, ValueError):
        return None


def is_admitted(
    state: State, waves: Sequence[Wave], *, rank: int, labels: Mapping[str, str]
) -> bool:
    """Whether a gateway may have the target."""
    if state.is_complete or state.wave >= state.waves or rank < state.cutoff:
        return True
    return any(
        wave.selector is not None and wave.selector.matches(labels) for wave in waves[: state.wave]
    )


def step(
    spec: RuntimeSpec,
    template: str,
    state: State | None,
    census: Sequence[Member],
    *,
    now: datetime,
    judge: Judge,
) -> Step:
    """Look at a rollout and say where it stands now.

    ``template`` is the digest of the operator at work, ``census`` every gateway on the runtime.
    Where no state is known, each member's revision must come from its own Deployment.
    """
    now = now.replace(microsecond=0)
    state = _fit(_aim(spec, template, state, census, now), spec)
    if spec.rollout.paused:
        state = replace(state, soaking_since=None)
    elif not state.is_complete:
        state = _proceed(state, spec, census, now, judge)
    return _sum_up(state, spec, census, now, judge)


def _aim(
    spec: RuntimeSpec, template: str, state: State | None, census: Sequence[Member], now: datetime
) -> State:
    """The state with the target that the spec asks for."""
    wanted = revision_of(spec, template)
    if state is None:
        if all(member.revision in {"", wanted.id} for member in census):
            return _begin(wanted, wanted, spec, now)
        # Whatever they run, nobody knows how it came about: move them as any others.
        return _begin(wanted, None, spec, now)
    if wanted.has_fields_of(state.target):
        if spec.rollout.operator_changes == "Roll" and _is_due(wanted, state, census):
            return _begin(wanted, state.proven, spec, now)
        return _with_models(state, spec.models)
    if state.proven is not None and wanted.has_fields_of(state.proven):
        # It is proven, so there is nothing to wait for.
        return _begin(replace(state.proven, models=spec.models), state.proven, spec, now)
    return _begin(wanted, state.proven, spec, now)


def _is_due(wanted: Revision, state: State, census: Sequence[Member]) -> bool:
    """Whether it is time for what only the operator changed: nothing else may be on.

    But a rollout that an operator began ends with that operator: the former one takes it back.
    """
    if wanted == state.target:
        return False
    if not state.is_complete:
        return wanted == state.proven
    return all(_has_moved(member, state) for member in census)


def _begin(target: Revision, proven: Revision | None, spec: RuntimeSpec, now: datetime) -> State:
    waves = len(spec.rollout.waves) + 1
    return State(
        target=target,
        proven=target if proven == target else proven,
        wave=waves if proven == target else 0,
        waves=waves,
        cutoff=0,
        started=now,
        wave_started=now,
    )


def _with_models(state: State, models: tuple[str, ...]) -> State:
    if state.target.models == models:
        return state
    target = replace(state.target, models=models)
    return replace(state, target=target, proven=target if state.is_complete else state.proven)


def _fit(state: State, spec: RuntimeSpec) -> State:
    """The state for waves that may have been edited meanwhile; it admits nobody."""
    waves = len(spec.rollout.waves) + 1
    if state.waves == waves:
        return state
    is_last = state.wave >= state.waves
    return replace(state, waves=waves, wave=waves if is_last else min(state.wave, waves - 1))


def _proceed(
    state: State, spec: RuntimeSpec, census: Sequence[Member], now: datetime, judge: Judge
) -> State:
    """The state after as many waves as may be passed now: at most one that holds gateways."""
    if state.wave == 0:
        return _advance(state, spec, census, now)
    gates = {judge(member, state) for member in _find_admitted(state, spec, census)}
    if gates & {Gate.WAIT, Gate.FAIL}:
        return replace(state, soaking_since=None)
    state = replace(state, soaking_since=state.soaking_since or now)
    if _soak_left(state, spec, now) > 0:
        return state
    # Nobody moves any more after the last wave: there, somebody may always be busy.
    if Gate.BUSY in gates and state.wave < state.waves:
        return state
    return _advance(state, spec, census, now)


def _advance(state: State, spec: RuntimeSpec, census: Sequence[Member], now: datetime) -> State:
    """The state in the next wave that admits anybody; complete after the last one."""
    while state.wave < state.waves:
        before = len(_find_admitted(state, spec, census))
        wave = state.wave + 1
        state = replace(
            state,
            wave=wave,
            cutoff=max(state.cutoff, _find_cutoff(spec.rollout.waves, wave, census)),
            wave_started=now,
            soaking_since=None,
        )
        if len(_find_admitted(state, spec, census)) > before:
            return state
    return replace(state, proven=state.target, soaking_since=None)


def _find_cutoff(waves: Sequence[Wave], wave: int, census: Sequence[Member]) -> int:
    """The rank below which exactly the wave's share of the gateways is.

    The share is counted among those that can prove something, where there are any: ten
    percent that were broken before would let the next wave begin without evidence.
    """
    percent = waves[wave - 1].percent if wave <= len(waves) else None
    if percent is None:
        return 0
    able = [it for it in census if it.is_ready or (it.ready_before and not it.served)]
    ranks = sorted(it.rank for it in able or census)
    count = ceil(len(ranks) * percent / 100)
    return ranks[count - 1] + 1 if count else 0


def _find_admitted(state: State, spec: RuntimeSpec, census: Sequence[Member]) -> list[Member]:
    waves = spec.rollout.waves
    return [it for it in census if is_admitted(state, waves, rank=it.rank, labels=it.labels)]


def _has_moved(member: Member, state: State) -> bool:
    """Whether a gateway has the target, or cannot take it for reasons of its own."""
    return member.revision == state.target.id or member.is_stalled


def _soak_left(state: State, spec: RuntimeSpec, now: datetime) -> float:
    """Seconds until the wave has soaked."""
    soak = timedelta(seconds=float(spec.rollout.soak_seconds))
    since = state.soaking_since or now
    return max((since + soak - now).total_seconds(), 0.0)


def _sum_up(
    state: State, spec: RuntimeSpec, census: Sequence[Member], now: datetime, judge: Judge
) -> Step:
    updated = sum(member.revision == state.target.id for member in census)
    if state.is_complete:
        behind = tuple(member for member in census if not _has_moved(member, state))
        return Step(
            state=state,
            updated=updated,
            is_rolling=bool(behind),
            is_paused=bool(behind) and spec.rollout.paused,
            waiting=behind,
            admitted=len(census),
        )
    judged = [(judge(it, state), it) for it in _find_admitted(state, spec, census)]
    again: float | None = None
    if state.soaking_since is not None:
        again = _soak_left(state, spec, now) or _LOOK_SECONDS
    return Step(
        state=state,
        updated=updated,
        is_rolling=True,
        is_paused=spec.rollout.paused,
        failing=tuple(it for gate, it in judged if gate is Gate.FAIL),
        waiting=tuple(it for gate, it in judged if gate in {Gate.WAIT, Gate.BUSY}),
        admitted=len(judged),
        again_seconds=again,
    )
