"""TelemetryReady: whether spans have somewhere to go.

It cannot make a gateway unready: it answers just as well while nobody looks at its traces.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from igw_operator.api.gateway import CollectorMode
from igw_operator.api.objects import Gateway
from igw_operator.judge.children import check_children
from igw_operator.judge.diagnosis import diagnose
from igw_operator.judge.finding import Truth, Verdict, say, say_blocked
from igw_operator.judge.otel_collector import judge_otel_collector
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Concern, Scene

_OTEL_CRD: Final = "opentelemetrycollectors.opentelemetry.io"


def judge_telemetry(scene: Scene, gateway: Gateway) -> Verdict:
    """Whether spans have somewhere to go."""
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
