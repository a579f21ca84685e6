"""The HorizontalPodAutoscaler, and the question whether there is one.

Cpu and memory come from metrics-server. Requests per second and queue depth are Pods metrics
of ``custom.metrics.k8s.io``; they are left out where the cluster does not serve it.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

from igw_operator.api.fields import parse_duration
from igw_operator.api.gateway import GatewaySpec, Scaling, ScalingPolicy
from igw_operator.api.objects import Manifest
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata

METRIC_REQUESTS_PER_SECOND: Final = "http_requests_per_second"
METRIC_QUEUE_SIZE: Final = "inference_queue_size"


def choose_scaling(spec: GatewaySpec) -> Scaling | None:
    """The scaling that a spec asks for; its defaults where it says nothing; None when fixed."""
    if spec.replicas is not None:
        return None
    return spec.scaling or Scaling()


def build_hpa(inputs: PlanInput) -> Manifest | None:
    """The autoscaler, or None for a fixed number of replicas."""
    gateway = inputs.gateway
    scaling = choose_scaling(gateway.spec)
    if scaling is None:
        return None
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": gateway.child_name(),
            },
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": _build_metrics(inputs, scaling),
            "behavior": {
                # More load is answered at once; less has to last for a whole period.
                "scaleUp": _build_rules(scaling.behavior.scale_up, stabilization_seconds=0),
                "scaleDown": _build_rules(
                    scaling.behavior.scale_down,
                    stabilization_seconds=_whole_seconds(scaling.behavior.scale_down.period),
                ),
            },
        },
    }


def _build_metrics(inputs: PlanInput, scaling: Scaling) -> list[dict[str, Any]]:
    resources = inputs.gateway.spec.resources
    # A share of a request that nobody made cannot be computed, and one metric that cannot be
    # computed keeps the autoscaler from ever scaling down. (A limit alone becomes the request.)
    known = {*resources.requests, *resources.limits}
    metrics = [
        _build_resource_metric(name, percent)
        for name, percent in (("cpu", scaling.cpu_percent), ("memory", scaling.memory_percent))
        if percent and name in known
    ]
    if inputs.capabilities.custom_metrics:
        metrics += [
            _build_pods_metric(name, target)
            for name, target in (
                (METRIC_REQUESTS_PER_SECOND, scaling.requests_per_second),
                (METRIC_QUEUE_SIZE, scaling.queue_depth),
            )
            if target
        ]
    return metrics


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


def _build_rules(policy: ScalingPolicy, *, stabilization_seconds: int) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": stabilization_seconds,
        "selectPolicy": "Max",
        "policies": [
            {
                "type": "Percent",
                "value": policy.percent,
                "periodSeconds": _whole_seconds(policy.period),
            }
        ],
    }


def _whole_seconds(duration: str) -> int:
    return ceil(parse_duration(duration))
