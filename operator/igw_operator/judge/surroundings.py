"""The conditions around serving: monitoring, telemetry, objectives, rollout.

None of them can make a gateway unready: it answers just as well while nobody watches it.
Each is True only on evidence. That objects exist is no evidence that they work, so what has
not been verified is Unknown.
"""

from __future__ import annotations

from typing import Final

from igw_operator.api.gateway import CollectorMode
from igw_operator.api.objects import Gateway
from igw_operator.judge.children import check_children
from igw_operator.judge.diagnosis import diagnose
from igw_operator.judge.finding import Truth, Verdict, say, say_blocked
from igw_operator.judge.otel_collector import judge_otel_collector
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.judge.snapshot import Snapshot
from igw_operator.plan.assignment import Hold

_OPERATOR_CRDS: Final = (
    ("service_monitors", "servicemonitors.monitoring.coreos.com"),
    ("prometheus_rules", "prometheusrules.monitoring.coreos.com"),
)
_OTEL_CRD: Final = "opentelemetrycollectors.opentelemetry.io"


def judge_monitoring(scene: Scene, gateway: Gateway) -> Verdict:
    """Whether a Prometheus scrapes the pods and evaluates the rules.

    Never True from the objects alone: a Prometheus selects monitors and rules by labels and
    namespaces, and silently leaves the others out (prometheus-operator#5917, kserve#3696).
    An SRE who reads True goes to sleep; Unknown sends them to look once. Only an answer of
    Prometheus itself may turn it True.
    """
    blocked = check_children(scene, Concern.MONITORING)
    if not gateway.spec.observability.metrics.enabled:
        if blocked is not None:  # what is not wanted any more cannot be removed
            return say_blocked(blocked)
        text = "spec.observability.metrics.enabled is false: nothing is scraped, nobody is paged"
        return say(Truth.FALSE, Reason.MONITORING_DISABLED, text)
    capabilities = scene.snapshot.capabilities
    missing = [crd for flag, crd in _OPERATOR_CRDS if not getattr(capabilities, flag)]
    if missing:
        text = f"No SLO rules or no scraping: the cluster does not serve {' and '.join(missing)}"
        command = f"kubectl get crd {' '.join(missing)}"
        return say(Truth.FALSE, Reason.PROMETHEUS_OPERATOR_MISSING, text, command)
    if blocked is not None:
        return say_blocked(blocked)
    text = (
        "ServiceMonitor and PrometheusRule are applied; "
        "whether a Prometheus selects them has not been verified"
    )
    command = "kubectl get prometheus -A -o yaml | grep -A5 -E '(serviceMonitor|rule).*Selector'"
    return say(Truth.UNKNOWN, Reason.NOT_VERIFIED, text, command)


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
            return Verdict(truth=Truth.FALSE, finding=finding)
    return say(
        Truth.UNKNOWN,
        Reason.STARTING,
        f"Collector {name} does not run yet",
        f"kubectl rollout status deployment/{name} -n {scene.namespace}",
    )


def judge_objectives(gateway: Gateway) -> Verdict:
    """Whether the error budgets hold. No traffic and no reading are not success."""
    if not gateway.spec.observability.metrics.enabled:
        text = "Without metrics there is nothing to measure the objectives by"
        return say(Truth.UNKNOWN, Reason.MONITORING_DISABLED, text)
    return say(Truth.UNKNOWN, Reason.NO_DATA, "The objectives have not been measured yet")


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
