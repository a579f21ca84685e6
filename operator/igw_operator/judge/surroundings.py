"""The conditions around serving: scaling, monitoring, telemetry, objectives, rollout.

None of them can make a gateway unready: it answers just as well while nobody watches it.
Each is True only on evidence. That objects exist is no evidence that they work, so what has
not been verified is Unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from igw_operator.api.gateway import CollectorMode
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.errors import RivalAutoscalerError
from igw_operator.judge import prose
from igw_operator.judge.children import check_children
from igw_operator.judge.diagnosis import diagnose
from igw_operator.judge.finding import Finding, Truth, Verdict
from igw_operator.judge.pods import ObservedCondition, parse_conditions
from igw_operator.judge.reasons import WAITING, Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.plan.hpa import choose_scaling

_OPERATOR_CRDS: Final = (
    ("service_monitors", "servicemonitors.monitoring.coreos.com"),
    ("prometheus_rules", "prometheusrules.monitoring.coreos.com"),
)


def _verdict(truth: Truth, reason: Reason, text: str, command: str = "") -> Verdict:
    return Verdict(truth=truth, finding=Finding(reason=reason, text=text, command=command))


def _blocked(finding: Finding) -> Verdict:
    """What is only on its way is not known yet; what is wrong is False."""
    truth = Truth.UNKNOWN if finding.reason in WAITING else Truth.FALSE
    return Verdict(truth=truth, finding=finding)


def judge_scaling(scene: Scene, gateway: Gateway) -> Verdict:
    """Whether the number of replicas follows what is asked for."""
    blocked = check_children(scene, Concern.SCALING)
    if blocked is not None:
        return _blocked(blocked)
    name, live = scene.child_name(), scene.child("HorizontalPodAutoscaler")
    look = f"kubectl describe hpa {name} -n {scene.namespace}"
    if choose_scaling(gateway.spec) is None:
        if live is not None:
            text = f"HorizontalPodAutoscaler {name} is still there, though replicas is fixed"
            return _verdict(Truth.FALSE, Reason.AUTOSCALER_LEFT_OVER, text, look)
        rival = _find_rivalry(scene)
        if rival is not None:
            look = f"kubectl get hpa -n {scene.namespace}"
            return _verdict(Truth.FALSE, Reason.AUTOSCALER_LEFT_OVER, str(rival), look)
        text = f"spec.replicas fixes {prose.counted(gateway.spec.replicas or 0, 'replica')}"
        return _verdict(Truth.TRUE, Reason.FIXED_REPLICAS, text)
    if live is None:
        text = f"HorizontalPodAutoscaler {name} does not exist"
        return _verdict(Truth.FALSE, Reason.AUTOSCALER_MISSING, text, look)
    verdict = _judge_autoscaler(scene, live)
    return replace(verdict, finding=replace(verdict.finding, command=look))


def _find_rivalry(scene: Scene) -> RivalAutoscalerError | None:
    errors = (failure.error for failure in scene.failures_of(Concern.SERVING))
    return next((it for it in errors if isinstance(it, RivalAutoscalerError)), None)


def _judge_autoscaler(scene: Scene, live: Manifest) -> Verdict:
    subject = f"HorizontalPodAutoscaler {scene.child_name()}"
    conditions = parse_conditions(live)
    able, active = conditions.get("AbleToScale"), conditions.get("ScalingActive")
    if able is not None and able.status == "False":
        text = f"{subject} cannot scale: {prose.tidy(able.message)}"
        return _verdict(Truth.FALSE, Reason.CANNOT_SCALE, text)
    if active is None or (active.status == "False" and _is_starting(scene, active)):
        text = f"{subject} has no metrics yet"
        return _verdict(Truth.UNKNOWN, Reason.STARTING, text)
    if active.reason == "ScalingDisabled":
        text = f"{subject} is off, because its Deployment was scaled to 0"
        return _verdict(Truth.FALSE, Reason.AUTOSCALER_OFF, text)
    if active.status != "True":
        text = f"{subject} has no metrics: {prose.tidy(active.message)}"
        return _verdict(Truth.FALSE, Reason.METRICS_UNAVAILABLE, text)
    return _judge_reach(scene, conditions)


def _is_starting(scene: Scene, active: ObservedCondition) -> bool:
    """Pods that do not run yet have no metrics: that proves nothing about the metrics' source."""
    nobody = scene.server is None or scene.server.ready == 0
    return nobody and active.reason != "ScalingDisabled"


def _judge_reach(scene: Scene, conditions: Mapping[str, ObservedCondition]) -> Verdict:
    """The autoscaler works; does it see all that it should, and may it go where it wants?"""
    subject = f"HorizontalPodAutoscaler {scene.child_name()}"
    missing = _missing_targets(scene)
    if missing:
        text = (
            f"{subject} scales on cpu and memory only: {' and '.join(missing)} "
            "need custom.metrics.k8s.io, which the cluster does not serve"
        )
        return _verdict(Truth.FALSE, Reason.CUSTOM_METRICS_UNAVAILABLE, text)
    limited = conditions.get("ScalingLimited")
    if limited is not None and limited.status == "True" and limited.reason == "TooManyReplicas":
        text = f"{subject} is at maxReplicas and wants more"
        return _verdict(Truth.TRUE, Reason.AT_MAX_REPLICAS, text)
    return _verdict(Truth.TRUE, Reason.AUTOSCALING, f"{subject} gets its metrics and can scale")


def _missing_targets(scene: Scene) -> list[str]:
    gateway = scene.snapshot.gateway
    scaling = choose_scaling(gateway.spec) if gateway is not None else None
    if scaling is None or scene.snapshot.capabilities.custom_metrics:
        return []
    targets = {
        "requestsPerSecond": scaling.requests_per_second,
        "queueDepth": scaling.queue_depth,
    }
    return [name for name, target in targets.items() if target]


def judge_monitoring(scene: Scene, gateway: Gateway) -> Verdict:
    """Whether a Prometheus scrapes the pods and evaluates the rules.

    Never True from the objects alone: a Prometheus selects monitors and rules by labels and
    namespaces, and silently leaves the others out (prometheus-operator#5917, kserve#3696).
    An SRE who reads True goes to sleep; Unknown sends them to look once. Only an answer of
    Prometheus itself may turn it True.
    """
    if not gateway.spec.observability.metrics.enabled:
        text = "spec.observability.metrics.enabled is false: nothing is scraped, nobody is paged"
        return _verdict(Truth.FALSE, Reason.MONITORING_DISABLED, text)
    capabilities = scene.snapshot.capabilities
    missing = [crd for flag, crd in _OPERATOR_CRDS if not getattr(capabilities, flag)]
    if missing:
        text = f"No SLO rules or no scraping: the cluster does not serve {' and '.join(missing)}"
        command = f"kubectl get crd {' '.join(missing)}"
        return _verdict(Truth.FALSE, Reason.PROMETHEUS_OPERATOR_MISSING, text, command)
    blocked = check_children(scene, Concern.MONITORING)
    if blocked is not None:
        return _blocked(blocked)
    text = (
        "ServiceMonitor and PrometheusRule are applied; "
        "whether a Prometheus selects them has not been verified"
    )
    command = "kubectl get prometheus -A -o yaml | grep -A5 -E '(serviceMonitor|rule).*Selector'"
    return _verdict(Truth.UNKNOWN, Reason.NOT_VERIFIED, text, command)


def judge_telemetry(scene: Scene, gateway: Gateway) -> Verdict:
    """Whether spans have somewhere to go."""
    observability = gateway.spec.observability
    mode = observability.collector.mode
    if mode is CollectorMode.DISABLED or not observability.tracing.enabled:
        text = "spec.observability asks for no traces"
        return _verdict(Truth.FALSE, Reason.TELEMETRY_DISABLED, text)
    if mode is CollectorMode.EXTERNAL:
        text = f"Spans go to {observability.collector.endpoint}; their arrival is not verified"
        return _verdict(Truth.UNKNOWN, Reason.NOT_VERIFIED, text)
    blocked = check_children(scene, Concern.TELEMETRY)
    if blocked is not None:
        return _blocked(blocked)
    return _judge_collector(scene)


def _judge_collector(scene: Scene) -> Verdict:
    name, collector = scene.child_name("collector"), scene.collector
    if collector is not None and collector.is_complete:
        text = f"Collector {name} runs; what it does with spans, its own metrics tell"
        return _verdict(Truth.TRUE, Reason.COLLECTOR_AVAILABLE, text)
    if collector is not None:
        finding = diagnose(collector, scene.now)
        if finding is not None:
            return Verdict(truth=Truth.FALSE, finding=finding)
    return _verdict(
        Truth.UNKNOWN,
        Reason.STARTING,
        f"Collector {name} does not run yet",
        f"kubectl rollout status deployment/{name} -n {scene.namespace}",
    )


def judge_objectives(gateway: Gateway) -> Verdict:
    """Whether the error budgets hold. No traffic and no reading are not success."""
    if not gateway.spec.observability.metrics.enabled:
        text = "Without metrics there is nothing to measure the objectives by"
        return _verdict(Truth.UNKNOWN, Reason.MONITORING_DISABLED, text)
    return _verdict(Truth.UNKNOWN, Reason.NO_DATA, "The objectives have not been measured yet")


def judge_rollout() -> Verdict:
    """Whether a template change is waiting for permission."""
    return _verdict(Truth.FALSE, Reason.NOT_HELD, "No change of the pods is being held back")
