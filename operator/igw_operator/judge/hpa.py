"""What an HPA says of itself: can it scale, by all of its metrics, as far as it wants?

An HPA that lacks one of its metrics still scales up by the others and never down, without a
word in its conditions: so each metric is looked at. Called by ``scaling`` and ``keda``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from igw_operator.api.objects import Manifest
from igw_operator.judge import prose
from igw_operator.judge.finding import Truth, Verdict, say
from igw_operator.judge.pods import ObservedCondition, parse_conditions
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Scene

HPA: Final = "HorizontalPodAutoscaler"
Triggers = Sequence[Mapping[str, Any]]


def describe(scene: Scene, name: str) -> str:
    """The command that shows an HPA."""
    return f"kubectl describe hpa {name} -n {scene.namespace}"


def check_metrics(scene: Scene, hpa: Manifest, triggers: Triggers = ()) -> Verdict | None:
    """What keeps the HPA from scaling; ``triggers`` are those of the ScaledObject behind it."""
    name = hpa["metadata"]["name"]
    subject, look = f"{HPA} {name}", describe(scene, name)
    conditions = parse_conditions(hpa)
    able, active = conditions.get("AbleToScale"), conditions.get("ScalingActive")
    if able is not None and able.status == "False":
        text = f"{subject} cannot scale: {prose.tidy(able.message)}"
        return say(Truth.FALSE, Reason.CANNOT_SCALE, text, look)
    if active is None or (active.status == "False" and _is_starting(scene, active)):
        return say(Truth.UNKNOWN, Reason.STARTING, f"{subject} has no metrics yet", look)
    if active.status != "True":
        return _judge_inactive(scene, name, active)
    unread = [_trigger_name(metric, triggers) for metric in _find_unread(hpa)]
    if unread:
        text = f"{subject} cannot read {' and '.join(unread)}, and never scales down without"
        return say(Truth.FALSE, Reason.METRICS_UNAVAILABLE, text, look)
    return None


def judge_reach(scene: Scene, hpa: Manifest) -> Verdict:
    """The HPA works and sees all that it should; may it go where it wants?"""
    name = hpa["metadata"]["name"]
    subject, look = f"{HPA} {name}", describe(scene, name)
    limited = parse_conditions(hpa).get("ScalingLimited")
    if limited is not None and limited.status == "True" and limited.reason == "TooManyReplicas":
        text = f"{subject} is at maxReplicas and wants more"
        return say(Truth.TRUE, Reason.AT_MAX_REPLICAS, text, look)
    return say(Truth.TRUE, Reason.AUTOSCALING, f"{subject} gets its metrics and can scale", look)


def _is_starting(scene: Scene, active: ObservedCondition) -> bool:
    """Pods that do not run yet have no metrics: that proves nothing about the metrics' source."""
    nobody = scene.server is None or scene.server.ready == 0
    return nobody and active.reason not in {"ScalingDisabled", "AmbiguousSelector"}


def _judge_inactive(scene: Scene, name: str, active: ObservedCondition) -> Verdict:
    subject, look = f"{HPA} {name}", describe(scene, name)
    if active.reason == "ScalingDisabled":
        text = f"{subject} is off, because its Deployment was scaled to 0"
        return say(Truth.FALSE, Reason.AUTOSCALER_OFF, text, look)
    if active.reason == "AmbiguousSelector":
        text = f"{subject} is not alone, and so does nothing: {prose.tidy(active.message)}"
        look = f"kubectl get hpa -n {scene.namespace}"
        return say(Truth.FALSE, Reason.AUTOSCALER_LEFT_OVER, text, look)
    text = f"{subject} has no metrics: {prose.tidy(active.message)}"
    return say(Truth.FALSE, Reason.METRICS_UNAVAILABLE, text, look)


def _find_unread(hpa: Manifest) -> list[str]:
    """Metrics that the HPA is to scale by, and had no value of when it last looked."""
    current = (hpa.get("status") or {}).get("currentMetrics")
    if current is None:
        return []
    read = {_metric_name(metric) for metric in current}
    asked = [_metric_name(metric) for metric in hpa["spec"].get("metrics") or ()]
    return [name for name in asked if name not in read]


def _metric_name(metric: Mapping[str, Any]) -> str:
    """Its name in an HPA's spec or status; empty in the status if it could not be read."""
    if metric.get("type") == "Resource":
        return str(metric["resource"]["name"])
    source = metric.get(str(metric.get("type")).lower()) or {}
    return str((source.get("metric") or {}).get("name", ""))


def _trigger_name(metric: str, triggers: Triggers) -> str:
    """KEDA calls the metric of its third trigger ``s2-prometheus``; the trigger has a name."""
    number = metric.partition("-")[0].removeprefix("s")
    if metric.startswith("s") and number.isdecimal() and int(number) < len(triggers):
        return str(triggers[int(number)].get("name") or metric)
    return metric
