"""The HorizontalPodAutoscaler.

Cpu and memory come from metrics-server. Requests per second and queue depth are Pods metrics
of ``custom.metrics.k8s.io``; each is left out where the cluster does not list it.
"""

from __future__ import annotations

from typing import Any

from igw_operator.api.objects import Manifest
from igw_operator.api.scaling import Scaling, ScalingEngine
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata
from igw_operator.plan.scaling import (
    build_behavior,
    build_scale_target,
    choose_engine,
    choose_loads,
    choose_scaling,
    choose_shares,
)


def build_hpa(inputs: PlanInput) -> Manifest | None:
    """The autoscaler, or None where replicas are fixed or KEDA scales."""
    gateway = inputs.gateway
    scaling = choose_scaling(gateway.spec)
    if scaling is None or choose_engine(inputs) is not ScalingEngine.HPA:
        return None
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME),
        "spec": {
            "scaleTargetRef": build_scale_target(gateway),
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": _build_metrics(inputs, scaling),
            "behavior": build_behavior(scaling),
        },
    }


def _build_metrics(inputs: PlanInput, scaling: Scaling) -> list[dict[str, Any]]:
    shares = choose_shares(inputs.gateway.spec, scaling)
    return [
        *(_build_resource_metric(name, percent) for name, percent in shares.items()),
        *(
            _build_pods_metric(metric, target)
            for metric, target in choose_loads(scaling).items()
            if metric in inputs.capabilities.pods_metrics
        ),
    ]


def _build_resource_metric(name: str, percent: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {
            "name": name,
            "target": {"type": "Utilization", "averageUtilization": percent},
        },
    }


def _build_pods_metric(name: str, target: int) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {
            "metric": {"name": name},
            "target": {"type": "AverageValue", "averageValue": str(target)},
        },
    }
