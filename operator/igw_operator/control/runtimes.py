"""One InferenceRuntime, once: takes its rollout a step on, and says where it stands.

The state of the rollout is written into the runtime's status before any gateway is told to
move: gateways read it there. What gateways report brings the runtime back here a few seconds
later, in one pass for many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from igw_operator import kinds
from igw_operator.act.events import EventRecorder
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import (
    Manifest,
    ObjectKey,
    Runtime,
    is_default_runtime,
    parse_runtime,
)
from igw_operator.control.outcome import Outcome
from igw_operator.errors import SpecError
from igw_operator.judge.conditions import ConditionType, conditions_by_type
from igw_operator.judge.events import transitions
from igw_operator.judge.finding import Truth
from igw_operator.judge.member import judge_member
from igw_operator.judge.runtime import find_steps, judge_runtime
from igw_operator.metrics import Metrics
from igw_operator.plan.revision import revision_of
from igw_operator.plan.rollout import Member, State, Step, is_admitted, parse_state, step
from igw_operator.world.cache import Cache
from igw_operator.world.gather import find_recorded

_log = structlog.get_logger(__name__)


class RuntimeReconciler:
    """Reconciles runtimes."""

    def __init__(
        self,
        *,
        cache: Cache,
        statuses: StatusWriter,
        recorder: EventRecorder,
        metrics: Metrics,
        enqueue: Callable[[ObjectKey], None],
        template: str,
        now: Callable[[], datetime],
    ) -> None:
        self._cache = cache
        self._statuses = statuses
        self._recorder = recorder
        self._metrics = metrics
        self._enqueue = enqueue
        self._template = template
        self._now = now

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Bring one runtime's rollout as far as it goes now, and report.

        Raises:
            ApiError: the status could not be written.
        """
        manifest = self._cache.get(kinds.RUNTIME, key)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            self._metrics.set_rollout(key.name, is_held=None, waiting=None)
            return Outcome()
        is_default = is_default_runtime(manifest)
        census = self._cache.fleet.census(key.name, is_default=is_default)
        runtime, error = _parse(manifest)
        before = parse_state(runtime.rollout) if runtime is not None else None
        found = self._step(runtime, before, census) if runtime is not None else None
        old = manifest.get("status") or {}
        status = judge_runtime(
            manifest,
            error,
            len(census),
            old,
            self._now(),
            other_defaults=find_other_defaults(manifest, self._cache.all(kinds.RUNTIME)),
            runtime=runtime,
            step=found,
            template=self._template,
        )
        if await self._statuses.write(kinds.RUNTIME, manifest, status):
            self._tell(manifest, old, status, before, found)
        held = conditions_by_type(status).get(ConditionType.ROLLOUT_HELD) or {}
        self._metrics.set_rollout(
            key.name,
            is_held=held.get("status") == Truth.TRUE,
            waiting=None if found is None else len(census) - found.updated,
        )
        if runtime is None or found is None:
            return Outcome()
        self._move(runtime, before, found.state, census)
        return Outcome(again_seconds=found.again_seconds)

    def _step(self, runtime: Runtime, before: State | None, census: Sequence[Member]) -> Step:
        if before is None:
            # A restored backup has no statuses; what the Deployments say is never lost.
            wanted = revision_of(runtime.spec, self._template)
            found = ((it, find_recorded(self._cache, it.key, [wanted])) for it in census)
            census = [
                replace(it, revision=recorded.revision.id if recorded else "")
                for it, recorded in found
            ]
        return step(
            runtime.spec, self._template, before, census, now=self._now(), judge=judge_member
        )

    def _tell(
        self,
        manifest: Manifest,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        before: State | None,
        found: Step | None,
    ) -> None:
        drafts = transitions(old, new)
        if found is not None:
            drafts = [*find_steps(manifest["metadata"]["name"], before, found), *drafts]
        for draft in drafts:
            self._recorder.record(manifest, draft)
            _log.info("Runtime went on", note=draft.note, reason=draft.reason)

    def _move(
        self, runtime: Runtime, before: State | None, state: State, census: Sequence[Member]
    ) -> None:
        """Have those gateways reconciled whom the step concerns."""
        if (
            before is None
            or (before.target, before.proven) != (state.target, state.proven)
            or before.target.models != state.target.models  # which are no part of the comparison
        ):
            concerned = list(census)  # they all report what they wait for
        elif (before.wave, before.cutoff) != (state.wave, state.cutoff):
            waves = runtime.spec.rollout.waves
            concerned = [
                it
                for it in census
                if it.revision != state.target.id
                and is_admitted(state, waves, rank=it.rank, labels=it.labels)
            ]
        else:
            return
        for member in concerned:
            self._enqueue(member.key)


def find_other_defaults(
    manifest: Manifest, runtimes: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """The further runtimes that are marked as default, where this one is."""
    if not is_default_runtime(manifest):
        return ()
    names = {it["metadata"]["name"] for it in runtimes if is_default_runtime(it)}
    return tuple(sorted(names - {manifest["metadata"]["name"]}))


def _parse(manifest: Manifest) -> tuple[Runtime | None, SpecError | None]:
    """The runtime, or what keeps gateways from using it."""
    try:
        return parse_runtime(manifest), None
    except SpecError as error:
        return None, error
