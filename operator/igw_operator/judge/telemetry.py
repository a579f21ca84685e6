"""TelemetryReady: whether spans have somewhere to go.

It cannot make a gateway unready: it answers just as well while nobody looks at its traces.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from igw_operator.api.objects import Gateway
from igw_operator.api.observability import CollectorMode
from igw_operator.judge import prose
from igw_operator.judge.children import check_children
from igw_operator.judge.diagnosis import diagnose
from igw_operator.judge.finding import Truth, Verdict, say, say_blocked
from igw_operator.judge.otel_collector import judge_otel_collector
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.judge.snapshot import Reading, SpanLoss

_OTEL_CRD: Final = "opentelemetrycollectors.opentelemetry.io"


FROM_READINGS: Final = frozenset({Reason.COLLECTOR_AVAILABLE, Reason.SPANS_LOST})
"""Reasons whose words stay as they are for as long as a new process has no reading."""
_LOSSES: Final = {
    SpanLoss.BACKEND: "the trace backend did not take {count} from the collector",
    SpanLoss.QUEUE: "{count} found no room in the collector's queue for the trace backend",
    SpanLoss.CROWDED: "{count} left the collector's memory for others before being judged",
    SpanLoss.REFUSED: "the collector refused {count}, being at its memory limit",
    SpanLoss.RUNTIME: "{count} never left the runtime",
}


def judge_telemetry(scene: Scene, gateway: Gateway, carried: Verdict | None = None) -> Verdict:
    """Whether spans have somewhere to go, and get there as far as Prometheus knows.

    ``carried`` is what the condition says of this generation, while there is no reading yet.
    """
    verdict = _judge_objects(scene, gateway)
    if verdict.truth is Truth.FALSE:
        return verdict  # the cause of whatever is lost
    reading = scene.snapshot.reading
    if reading is None:
        if carried is None or not _is_watched(scene, gateway):
            return verdict
        is_same = carried.finding.reason in {Reason.SPANS_LOST, verdict.finding.reason}
        return carried if is_same else verdict
    if reading.spans_lost:
        return _judge_losses(scene, reading)
    if verdict.truth is Truth.TRUE and reading.is_collector_scraped:
        name = scene.child_name("collector")
        text = f"Collector {name} runs, and {reading.server} counts no lost span"
        return say(Truth.TRUE, Reason.COLLECTOR_AVAILABLE, text)
    return verdict


def _is_watched(scene: Scene, gateway: Gateway) -> bool:
    """Whether there will be a reading."""
    capabilities = scene.snapshot.capabilities
    return (
        gateway.spec.observability.metrics.enabled
        and capabilities.service_monitors
        and capabilities.prometheus_rules
    )


def _judge_losses(scene: Scene, reading: Reading) -> Verdict:
    told = [
        _LOSSES[where].format(count=f"about {prose.counted(count, _name_lost(where))}")
        for where, count in reading.spans_lost
    ]
    is_within = {where for where, _ in reading.spans_lost} <= {SpanLoss.RUNTIME}
    # Whoever could not deliver says why in its log.
    name = scene.child_name("" if is_within else "collector")
    command = f"kubectl logs deployment/{name} -n {scene.namespace} --tail=50"
    text = f"{reading.server} counts lost spans within 5 minutes: {'; '.join(told)}"
    return say(Truth.FALSE, Reason.SPANS_LOST, text, command)


def _name_lost(where: SpanLoss) -> str:
    return "trace" if where is SpanLoss.CROWDED else "span"


def _judge_objects(scene: Scene, gateway: Gateway) -> Verdict:
    observability = gateway.spec.observability
    mode = observability.collector.mode
    blocked = check_children(scene, Concern.TELEMETRY)
    if blocked is not None:  # also where a collector that nobody wants cannot be removed
        return say_blocked(blocked)
    if mode is CollectorMode.DISABLED or not observability.tracing.enabled:
        text = "spec.observability asks for no traces"
        return say(Truth.FALSE, Reason.TELEMETRY_DISABLED, text)
    if mode is CollectorMode.EXTERNAL:
        text = f"Spans go to {observability.collector.endpoint}; their arrival is not verified"
        return say(Truth.UNKNOWN, Reason.NOT_VERIFIED, text)
    is_delegated = mode is CollectorMode.OPENTELEMETRY_COLLECTOR
    if is_delegated and not scene.snapshot.capabilities.otel_collectors:
        text = f"No collector: the cluster does not serve {_OTEL_CRD}"
        command = f"kubectl get crd {_OTEL_CRD}"
        return say(Truth.FALSE, Reason.OPENTELEMETRY_OPERATOR_MISSING, text, command)
    told = judge_otel_collector(scene) if is_delegated else None
    return told or _judge_collector(scene)


def _judge_collector(scene: Scene) -> Verdict:
    name, collector = scene.child_name("collector"), scene.collector
    if collector is not None and collector.is_complete:
        text = f"Collector {name} runs; what it does with spans, its own metrics tell"
        return say(Truth.TRUE, Reason.COLLECTOR_AVAILABLE, text)
    if collector is not None:
        finding = diagnose(collector, scene.now)
        if finding is not None:
            if collector.available:  # of the revision before, which goes last
                text = f"{finding.text}; the collector of before goes on"
                finding = replace(finding, text=text)
            return Verdict(truth=Truth.FALSE, finding=finding)
    return say(
        Truth.UNKNOWN,
        Reason.STARTING,
        f"Collector {name} does not run yet",
        f"kubectl rollout status deployment/{name} -n {scene.namespace}",
    )
