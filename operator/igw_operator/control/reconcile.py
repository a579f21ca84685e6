"""One gateway, once: observe, parse, build, diff, apply, judge, report.

The same code runs on create, edit, drift, restart and resync; it is told a key and nothing
about what happened. Called by ``workers``; everything it reads comes from ``world``,
everything it writes goes through ``act``, and what it decides itself is only when to come
back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import structlog

from igw_operator import conventions, kinds
from igw_operator.act.apply import Applied, Applier
from igw_operator.act.attempts import Attempts, key_of_child
from igw_operator.act.events import EventRecorder
from igw_operator.act.handover import find_leaving, is_autoscaler, without_replicas
from igw_operator.act.prune import Pruner, find_in_the_way, find_orphaned, find_unwanted
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import Gateway, Manifest, ObjectKey, Runtime
from igw_operator.control.outcome import Outcome, choose_outcome
from igw_operator.errors import (
    ApiError,
    LeavingAutoscalerError,
    OwnedByOtherError,
    SpecError,
    StaleViewError,
)
from igw_operator.judge.conditions import ConditionType, conditions_by_type
from igw_operator.judge.events import EventDraft, transitions
from igw_operator.judge.finding import Truth
from igw_operator.judge.snapshot import ApplyFailure, Snapshot
from igw_operator.judge.status import judge
from igw_operator.metrics import Metrics
from igw_operator.plan.assignment import Hold
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import Reason, is_in_place, restamp, stamp
from igw_operator.plan.hold import hold_templates
from igw_operator.plan.inputs import Defaults, PlanInput
from igw_operator.plan.otel_collector import list_claims
from igw_operator.world.cache import Cache
from igw_operator.world.capabilities import CapabilityWatch
from igw_operator.world.freshness import Freshness
from igw_operator.world.gather import (
    Observation,
    Relatives,
    find_parents,
    find_relatives,
    gather,
    observe,
)
from igw_operator.world.monitoring import Monitoring
from igw_operator.world.warning_events import WarningEvents

_CONFLICT: Final = 409
# Where each answer takes long, the status is worth more than the next child.
_APPLY_SECONDS: Final = 45.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Pass:
    """What one reconcile has come to so far."""

    observation: Observation
    relatives: Relatives | None = None
    """What was there before anything was written."""
    desired: list[Manifest] = field(default_factory=list)
    """Stamped."""
    failures: list[ApplyFailure] = field(default_factory=list)
    looked_at: float | None = None
    """When the gateway and its runtime were found to be what this pass began with."""
    hold: Hold | None = None
    is_over: bool = False
    """The namespace is being deleted, and the gateway with it."""


class Reconciler:
    """Reconciles gateways."""

    def __init__(
        self,
        *,
        cache: Cache,
        capabilities: CapabilityWatch,
        freshness: Freshness,
        warnings: WarningEvents,
        monitoring: Monitoring,
        applier: Applier,
        pruner: Pruner,
        attempts: Attempts,
        statuses: StatusWriter,
        recorder: EventRecorder,
        metrics: Metrics,
        defaults: Defaults,
        template: str,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._capabilities = capabilities
        self._freshness = freshness
        self._warnings = warnings
        self._monitoring = monitoring
        self._applier = applier
        self._pruner = pruner
        self._attempts = attempts
        self._statuses = statuses
        self._recorder = recorder
        self._metrics = metrics
        self._defaults = defaults
        self._template = template
        self._now = now
        self._clock = clock

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Bring one gateway where it should be, as far as that goes now.

        Raises:
            ApiError: the status could not be written.
        """
        manifest = self._cache.get(kinds.GATEWAY, key)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            # The garbage collector takes the children by their ownerReferences.
            self._metrics.set_desired_replicas(key.namespace, key.name, None)
            self._metrics.set_ready(key.namespace, key.name, is_ready=None)
            self._monitoring.forget(key)
            return Outcome()
        run = _Pass(observation=observe(self._cache, manifest, self._template))
        try:
            return await self._pass(key, run)
        except StaleViewError as error:
            _log.info("Begins anew", key=str(key), reason=str(error))
            return Outcome(again_seconds=0.0)

    async def _pass(self, key: ObjectKey, run: _Pass) -> Outcome:
        try:
            await self._converge(key, run)
        except StaleViewError:
            raise
        except Exception as error:
            # Whatever it was: the status must not say that this generation is in place.
            run.failures.append(_as_crash(key, error))
            await self._report(key, run)
            raise
        if run.is_over:
            return Outcome()  # its DELETED event comes; a report would only cry wolf
        status = await self._report(key, run)
        return choose_outcome(status, run.failures, self._now())

    async def _converge(self, key: ObjectKey, run: _Pass) -> None:
        gateway, runtime = run.observation.gateway, run.observation.runtime
        assignment = run.observation.assignment
        if gateway is None or runtime is None or assignment is None:
            return  # what serves goes on serving
        run.hold = assignment.hold
        if run.observation.spec_error is not None:
            return
        try:
            children = self._build(gateway, runtime)
        except SpecError as error:
            run.observation = replace(run.observation, spec_error=error)
            return
        run.relatives = find_relatives(self._cache, key)
        live = run.relatives.children
        held = hold_templates(
            children,
            live,
            gateway,
            runtime.name,
            assignment.revision,
            is_edited=run.observation.is_edited,
        )
        run.desired = [stamp(child, gateway) for child in held.children]
        if held.names and run.hold is None:
            run.hold = Hold.OPERATOR
        unwanted = self._find_unwanted(gateway, run, run.relatives)
        first = find_in_the_way(unwanted, run.desired)
        await self._prune(first, run)
        leaving = find_leaving(live.values(), run.desired)
        if leaving is not None:
            run.relatives = find_relatives(self._cache, key)
            live = run.relatives.children
            leaving = find_leaving(live.values(), run.desired)
        await self._apply(gateway, live, run, leaving)
        # Once more: a ConfigMap of the template before is needed until the new one is applied.
        if not run.is_over and live.keys() - {_key(child) for child in run.desired}:
            tried = {_key(child) for child in first}
            relatives = find_relatives(self._cache, key, run.relatives)
            left = self._find_unwanted(gateway, run, relatives)
            await self._prune([child for child in left if _key(child) not in tried], run)

    def _find_unwanted(self, gateway: Gateway, run: _Pass, relatives: Relatives) -> list[Manifest]:
        children = relatives.children.values()
        unwanted = find_unwanted(children, run.desired, gateway.uid, relatives.replica_sets)
        if not self._capabilities.serves(kinds.SCALED_OBJECT):
            unwanted += find_orphaned(children)
        return [it for it in unwanted if self._capabilities.serves(kinds.child_resource(it))]

    async def _confirm(self, run: _Pass) -> None:
        """Before anything is written: nothing is done in the name of an old spec."""
        observation = run.observation
        run.looked_at = await self._freshness.confirm(
            observation.manifest, observation.runtime, run.looked_at
        )

    def _build(self, gateway: Gateway, runtime: Runtime) -> list[Manifest]:
        inputs = PlanInput(
            gateway=gateway,
            runtime=runtime,
            capabilities=self._capabilities.current,
            defaults=self._defaults,
        )
        return build_children(inputs)

    async def _apply(
        self,
        gateway: Gateway,
        live: Mapping[tuple[str, str], Manifest],
        run: _Pass,
        leaving: Manifest | None,
    ) -> None:
        ends_at = self._clock() + _APPLY_SECONDS
        for child in self._in_order(run.desired):
            kind, name = child["kind"], child["metadata"]["name"]
            if self._clock() > ends_at and not is_in_place(child, live.get((kind, name)), gateway):
                run.failures.append(_as_skipped(kind, name))
                continue
            manifest = child
            if any((it.kind, it.name) in list_claims(child) for it in run.failures):
                continue  # its way could not be cleared, which the failure tells
            if leaving is not None and _has_to_wait(child, leaving, live):
                run.failures.append(_as_waiting(child, leaving, run.failures))
                if is_autoscaler(child):
                    continue
                manifest = restamp(without_replicas(child), gateway)
            try:
                applied = await self._applier.apply(
                    manifest,
                    live.get((kind, name)),
                    owner=gateway,
                    siblings=run.desired,
                    confirm=lambda: self._confirm(run),
                )
            except ApiError as error:
                if error.is_namespace_going:
                    run.is_over = True
                    return
                run.failures.append(_as_failure(kind, name, error))
            else:
                self._tell_drift(run.observation.manifest, applied)

    def _in_order(self, children: Sequence[Manifest]) -> list[Manifest]:
        """Those that were refused come last, or their time-outs would keep the others for ever."""
        return sorted(children, key=lambda it: self._attempts.count_refusals(key_of_child(it)))

    async def _prune(self, unwanted: Sequence[Manifest], run: _Pass) -> None:
        for child in unwanted:
            kind, name = child["kind"], child["metadata"]["name"]
            try:
                await self._confirm(run)
                await self._pruner.delete(child)
            except ApiError as error:
                run.failures.append(_as_failure(kind, name, error))

    def _tell_drift(self, manifest: Manifest, applied: Applied | None) -> None:
        if applied is None or applied.diff.reason is not Reason.DRIFT:
            return
        paths = ", ".join(applied.diff.paths[:5])
        note = f"{applied.kind} {applied.name} had been changed and was put right: {paths}"
        draft = EventDraft(type="Normal", reason="DriftRepaired", note=note)
        self._recorder.record(manifest, draft)

    async def _report(self, key: ObjectKey, run: _Pass) -> dict[str, Any]:
        manifest = run.observation.manifest
        snapshot = await self._gather(key, run)
        before = manifest.get("status") or {}
        status = judge(snapshot, before, self._now())
        if await self._write_status(run, status):
            for draft in transitions(before, status):
                self._recorder.record(manifest, draft)
        self._cache.fleet.mark_judged(key)
        self._metrics.set_desired_replicas(key.namespace, key.name, _desired_replicas(snapshot))
        self._metrics.set_ready(key.namespace, key.name, is_ready=_is_ready(status))
        return status

    async def _write_status(self, run: _Pass, status: Mapping[str, Any]) -> bool:
        manifest = run.observation.manifest
        try:
            return await self._statuses.write(kinds.GATEWAY, manifest, status)
        except ApiError as error:
            if error.status == _CONFLICT:
                await self._freshness.check(manifest, None)
            raise

    async def _gather(self, key: ObjectKey, run: _Pass) -> Snapshot:
        relatives = find_relatives(self._cache, key, run.relatives)
        deployments = [it for (kind, _), it in relatives.children.items() if kind == "Deployment"]
        events: list[Manifest] = []
        if not all(_is_available(deployment) for deployment in deployments):
            events = await self._warnings.fetch(key.namespace, relatives.uids())
        gateway = run.observation.gateway
        return gather(
            run.observation,
            relatives,
            capabilities=self._capabilities.current,
            desired=run.desired,
            failures=run.failures,
            events=events,
            parents=find_parents(self._cache, run.observation.manifest),
            hold=run.hold,
            reading=None if gateway is None else self._monitoring.read(gateway, run.desired),
        )


def _key(child: Manifest) -> tuple[str, str]:
    return child["kind"], child["metadata"]["name"]


def _as_crash(key: ObjectKey, error: Exception) -> ApplyFailure:
    message = f"the operator failed ({type(error).__name__}: {error}); its log has the details"
    internal = ApiError(message, status=0, reason="InternalError")
    return ApplyFailure(kind=kinds.GATEWAY.kind, name=key.name, error=internal)


def _has_to_wait(
    child: Manifest, leaving: Manifest, live: Mapping[tuple[str, str], Manifest]
) -> bool:
    """Whether a child would come into the way of an autoscaler that is still there.

    A new autoscaler, or a fixed number. The two would set replicas in turns, and start and stop
    pods each time.
    """
    if is_autoscaler(child):
        return (child["kind"], child["metadata"]["name"]) not in live
    target = (kinds.DEPLOYMENT.kind, leaving["spec"]["scaleTargetRef"]["name"])
    return (child["kind"], child["metadata"]["name"]) == target and "replicas" in child["spec"]


def _as_waiting(
    child: Manifest, leaving: Manifest, failures: Sequence[ApplyFailure]
) -> ApplyFailure:
    kind, name = child["kind"], child["metadata"]["name"]
    old = (leaving["kind"], leaving["metadata"]["name"])
    what = f"{kind} {name}" if is_autoscaler(child) else "spec.replicas"
    message = f"{what} waits until {' '.join(old)} is gone"
    cause = next((it.error for it in failures if (it.kind, it.name) == old), None)
    if cause is None:
        error: ApiError = LeavingAutoscalerError(message, status=_CONFLICT, reason="Conflict")
    else:
        error = ApiError(
            f"{message}: {cause}",
            status=cause.status,
            reason=cause.reason,
            retry_after_seconds=cause.retry_after_seconds,
        )
    return ApplyFailure(kind=kind, name=name, error=error)


def _as_skipped(kind: str, name: str) -> ApplyFailure:
    message = f"the API server took more than {_APPLY_SECONDS:.0f} s for the others; it follows"
    return ApplyFailure(kind=kind, name=name, error=ApiError(message, status=0, reason="Slow"))


def _as_failure(kind: str, name: str, error: ApiError) -> ApplyFailure:
    is_foreign = isinstance(error, OwnedByOtherError)
    return ApplyFailure(kind=kind, name=name, error=error, foreign=is_foreign)


def _is_available(deployment: Mapping[str, Any]) -> bool:
    status = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration") == deployment["metadata"].get("generation")
        and status.get("availableReplicas", 0) >= wanted
        and status.get("updatedReplicas", 0) >= wanted
    )


def _desired_replicas(snapshot: Snapshot) -> int | None:
    """What the live Deployment is told to be, whoever told it."""
    # By the name alone: what serves goes on serving while the spec cannot be read.
    name = conventions.child_name(snapshot.manifest["metadata"]["name"])
    live = snapshot.children.get((kinds.DEPLOYMENT.kind, name))
    return None if live is None else int(live["spec"].get("replicas", 1))


def _is_ready(status: Mapping[str, Any]) -> bool:
    ready = conditions_by_type(status).get(ConditionType.READY)
    return ready is not None and ready["status"] == Truth.TRUE
