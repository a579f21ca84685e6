"""KEDA's ScaledObject: the same targets as the HPA's, read from Prometheus by KEDA itself.

KEDA makes an HPA of it, named ``keda-hpa-<name>``, and owns that one
(https://keda.sh/docs/latest/concepts/scaling-deployments/).
"""

from __future__ import annotations

from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Manifest
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
from igw_operator.plan.slo.objective import build_identity
from igw_operator.plan.slo.promql import render_selector

_RATE_WINDOW: Final = "1m"


def build_scaled_object(inputs: PlanInput) -> Manifest | None:
    """The ScaledObject, or None where KEDA does not scale."""
    gateway = inputs.gateway
    scaling = choose_scaling(gateway.spec)
    if scaling is None or choose_engine(inputs) is not ScalingEngine.KEDA:
        return None
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME),
        "spec": {
            "scaleTargetRef": build_scale_target(gateway),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": build_behavior(scaling)}},
            "triggers": _build_triggers(inputs, scaling),
        },
    }


def _build_triggers(inputs: PlanInput, scaling: Scaling) -> list[dict[str, Any]]:
    triggers = [
        {"type": name, "metricType": "Utilization", "metadata": {"value": str(percent)}}
        for name, percent in choose_shares(inputs.gateway.spec, scaling).items()
    ]
    if not inputs.defaults.prometheus_url:
        return triggers
    queries = {
        conventions.METRIC_REQUESTS_PER_SECOND: _render_requests,
        conventions.METRIC_QUEUE_SIZE: _render_queue,
    }
    return triggers + [
        {
            "type": "prometheus",
            "name": metric,
            "metricType": "AverageValue",
            "metadata": {
                "serverAddress": inputs.defaults.prometheus_url,
                "query": queries[metric](inputs.gateway),
                "threshold": str(target),
                # An empty answer means that nobody knows the load, not that there is none.
                "ignoreNullValues": "false",
            },
        }
        for metric, target in choose_loads(scaling).items()
    ]


def _render_requests(gateway: Gateway) -> str:
    """Predictions a second; 0 while pods are scraped and nobody asks them, nothing otherwise."""
    endpoints = f'endpoint=~"{conventions.ENDPOINT_PATTERN}"'
    requests = render_selector(conventions.METRIC_REQUESTS, build_identity(gateway), endpoints)
    queue = render_selector(conventions.METRIC_QUEUE, build_identity(gateway))
    return f"sum(rate({requests}[{_RATE_WINDOW}])) or sum(0 * {queue})"


def _render_queue(gateway: Gateway) -> str:
    return f"sum({render_selector(conventions.METRIC_QUEUE, build_identity(gateway))})"
