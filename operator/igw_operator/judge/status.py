"""The whole status of a gateway, from one Snapshot.

``control.reconcile`` calls `judge` at the end of every pass and writes what it returns if it
differs. The same snapshot, previous status and time give the same status, byte for byte, and
a status judged twice is the status judged once.

Ready, Reconciling and Stalled exclude each other and one of them is always True, so that
kstatus (Current, InProgress, Failed) and a person read the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.api.status import (
    Address,
    Condition,
    GatewayStatus,
    ServedModel,
    ServedRuntime,
    SloStatus,
    as_status,
)
from igw_operator.judge import objectives, telemetry
from igw_operator.judge.conditions import (
    ConditionType,
    build_conditions,
    conditions_by_type,
    is_trouble,
)
from igw_operator.judge.drill import judge_drill, report_drill
from igw_operator.judge.finding import Finding, Truth, Verdict
from igw_operator.judge.held import judge_rollout
from igw_operator.judge.monitoring import FROM_READINGS, judge_monitoring
from igw_operator.judge.objectives import find_budget, judge_objectives, report_objectives
from igw_operator.judge.reasons import Reason
from igw_operator.judge.route import find_url, judge_route
from igw_operator.judge.scaling import judge_scaling
from igw_operator.judge.scene import Scene, build_scene
from igw_operator.judge.serving import is_stalled, judge_available, judge_ready
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.telemetry import judge_telemetry

# While Ready says that all is well, the first of these that is in trouble gives the REASON.
_LOUDNESS: Final = (
    ConditionType.READY,
    ConditionType.ROUTE_READY,
    ConditionType.SLO_MET,
    ConditionType.ROLLOUT_HELD,
    ConditionType.SCALING_READY,
    ConditionType.MONITORING_READY,
    ConditionType.TELEMETRY_READY,
    ConditionType.ALERT_DRILL_SEEN,
)


def judge(
    snapshot: Snapshot, previous_status: Mapping[str, Any] | None, now: datetime
) -> dict[str, Any]:
    """The complete new status, in the API server's own form."""
    scene = build_scene(snapshot, now)
    previous = previous_status or {}
    slos = _report_objectives(snapshot, previous)
    verdicts = _judge_all(scene, slos, previous)
    conditions = build_conditions(
        verdicts,
        previous=previous,
        generation=scene.generation,
        now=now,
    )
    loudest = _find_loudest(conditions, quiet=_find_unasked(snapshot.gateway))
    server, internal = scene.server, _url(scene.child("Service"))
    status = GatewayStatus(
        observed_generation=scene.generation,
        conditions=conditions,
        reason=loudest.reason,
        message=None if loudest.reason == Reason.SERVING else loudest.message,
        replicas=server.replicas if server else 0,
        ready_replicas=server.ready if server else 0,
        updated_replicas=server.updated if server else 0,
        readiness=f"{server.ready}/{server.wanted}" if server else "0/0",
        selector=_selector(scene.child("Deployment")),
        url=find_url(scene, verdicts.get(ConditionType.ROUTE_READY)) or internal,
        address=Address(url=internal) if internal else None,
        model=_model(snapshot.gateway),
        runtime=report_runtime(
            snapshot, previous, is_ready=verdicts[ConditionType.READY].truth is Truth.TRUE
        ),
        slo=slos,
        budget=find_budget(slos),
        alert_drill=report_drill(snapshot, previous),
    )
    return as_status(status)


def _judge_all(
    scene: Scene, slos: Sequence[SloStatus], previous: Mapping[str, Any]
) -> dict[ConditionType, Verdict]:
    ready = judge_ready(scene)
    verdicts = {
        ConditionType.READY: ready,
        ConditionType.AVAILABLE: judge_available(scene, ready),
        ConditionType.ROLLOUT_HELD: judge_rollout(scene.snapshot),
        **_judge_surroundings(scene, slos, previous),
    }
    if (drill := judge_drill(scene.snapshot, previous)) is not None:
        verdicts[ConditionType.ALERT_DRILL_SEEN] = drill
    if ready.truth is not Truth.TRUE:
        stalled = is_stalled(scene, ready)
        kind = ConditionType.STALLED if stalled else ConditionType.RECONCILING
        verdicts[kind] = Verdict(truth=Truth.TRUE, finding=ready.finding)
    return verdicts


def _judge_surroundings(
    scene: Scene, slos: Sequence[SloStatus], previous: Mapping[str, Any]
) -> dict[ConditionType, Verdict]:
    gateway, reading = scene.snapshot.gateway, scene.snapshot.reading
    monitoring = conditions_by_type(previous).get(ConditionType.MONITORING_READY) or {}
    met = conditions_by_type(previous).get(ConditionType.SLO_MET) or {}
    spans = conditions_by_type(previous).get(ConditionType.TELEMETRY_READY) or {}
    if gateway is None:
        # What is asked for is not known, so nothing can be compared with it.
        text = "Not judged, because the spec is invalid"
        unknown = Verdict(
            truth=Truth.UNKNOWN, finding=Finding(reason=Reason.INVALID_SPEC, text=text)
        )
        return dict.fromkeys(
            (
                ConditionType.SCALING_READY,
                ConditionType.MONITORING_READY,
                ConditionType.TELEMETRY_READY,
                ConditionType.SLO_MET,
            ),
            unknown,
        )
    route = judge_route(scene, gateway)
    return ({ConditionType.ROUTE_READY: route} if route is not None else {}) | {
        ConditionType.SCALING_READY: judge_scaling(scene, gateway),
        ConditionType.MONITORING_READY: judge_monitoring(
            scene,
            gateway,
            monitoring,
            _carry(scene, monitoring, FROM_READINGS),
        ),
        ConditionType.TELEMETRY_READY: judge_telemetry(
            scene, gateway, _carry(scene, spans, telemetry.FROM_READINGS)
        ),
        ConditionType.SLO_MET: judge_objectives(
            gateway, reading, slos, _carry(scene, met, objectives.FROM_READINGS)
        ),
    }


def _carry(scene: Scene, before: Mapping[str, Any], reasons: frozenset[Reason]) -> Verdict | None:
    """What a condition said of this same generation, for as long as nothing new is known.

    A restarted operator would else write the status of every gateway twice. None where it spoke
    of another spec, or of what is known without a reading.
    """
    said = next((it for it in reasons if it == before.get("reason")), None)
    if said is None or before.get("observedGeneration") != scene.generation:
        return None
    finding = Finding(reason=said, text=before["message"])
    return Verdict(truth=Truth(before["status"]), finding=finding)


def _find_unasked(gateway: Gateway | None) -> frozenset[str]:
    """Reasons that speak of what nobody asked for: true, but no news in the REASON column.

    A gateway without ``scaling`` gets the targets of all four metrics by default; that two of
    them wait for an API that most clusters lack stays in ScalingReady.
    """
    if gateway is None or gateway.spec.scaling is not None:
        return frozenset()
    return frozenset({Reason.CUSTOM_METRICS_UNAVAILABLE, Reason.CUSTOM_METRICS_MISSING})


def _find_loudest(conditions: tuple[Condition, ...], *, quiet: frozenset[str]) -> Condition:
    by_type = {condition.type: condition for condition in conditions}
    ready = by_type[ConditionType.READY]
    if ready.status != Truth.TRUE.value:
        return ready
    in_order = (
        by_type[kind] for kind in _LOUDNESS if kind in by_type and by_type[kind].reason not in quiet
    )
    return next((it for it in in_order if is_trouble(it.type, it.status, it.reason)), ready)


def _selector(deployment: Manifest | None) -> str | None:
    if deployment is None:
        return None
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _url(service: Manifest | None) -> str | None:
    """Short of the cluster's domain, which nobody tells; `.svc` resolves from every pod."""
    if service is None:
        return None
    metadata, port = service["metadata"], service["spec"]["ports"][0]
    encrypted = port.get("name") == conventions.PORT_NAME_HTTPS
    scheme, default = ("https", 443) if encrypted else ("http", 80)
    suffix = "" if port["port"] == default else f":{port['port']}"
    return f"{scheme}://{metadata['name']}.{metadata['namespace']}.svc{suffix}"


def _model(gateway: Gateway | None) -> ServedModel | None:
    if gateway is None:
        return None
    model = gateway.spec.model
    return ServedModel(name=model.name, version=model.version, uri=model.uri)


def report_runtime(
    snapshot: Snapshot, previous: Mapping[str, Any], *, is_ready: bool
) -> ServedRuntime | None:
    """The runtime, and what a rollout of it has to know of this gateway."""
    runtime, revision = snapshot.runtime, snapshot.revision
    if runtime is None:
        return None
    if revision is None:
        return ServedRuntime(name=runtime.name, image=runtime.spec.image)
    before = previous.get("runtime") or {}
    served, ready_before = bool(before.get("served")), bool(before.get("readyBefore"))
    if before.get("revision") != revision.id:
        # A gateway that was never Ready on the revision that it leaves was perhaps broken by it:
        # what counts is how it was before that one.
        if served or "revision" not in before:
            ready_before = _was_ready(previous)
        served = False
    return ServedRuntime(
        name=runtime.name,
        image=revision.image,
        revision=revision.id,
        ready_before=ready_before,
        served=served or is_ready,
    )


def _was_ready(status: Mapping[str, Any]) -> bool:
    ready = conditions_by_type(status).get(ConditionType.READY) or {}
    return ready.get("status") == Truth.TRUE


def _report_objectives(snapshot: Snapshot, previous: Mapping[str, Any]) -> tuple[SloStatus, ...]:
    gateway = snapshot.gateway
    return report_objectives(gateway, snapshot.reading, previous) if gateway is not None else ()
