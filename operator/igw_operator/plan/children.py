"""All children of one gateway, in the order in which they are best applied.

Identity and configuration first, so that no pod waits for a mount; then what leads traffic to
pods, the pods, and last what watches them. The same input gives the same bytes.
"""

from __future__ import annotations

from igw_operator.api.objects import Manifest
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.collector import build_collector
from igw_operator.plan.deployment import build_deployment
from igw_operator.plan.disruption import build_pdb
from igw_operator.plan.hpa import build_hpa
from igw_operator.plan.http_route import build_http_route
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.network_policy import build_runtime_policy
from igw_operator.plan.otel_collector import build_otel_collector
from igw_operator.plan.runtime_config import build_runtime_config
from igw_operator.plan.scaled_object import build_scaled_object
from igw_operator.plan.service import build_metrics_service, build_service
from igw_operator.plan.service_account import build_service_account
from igw_operator.plan.service_monitor import build_service_monitor
from igw_operator.plan.slo.rule import build_prometheus_rule


def build_children(inputs: PlanInput) -> list[Manifest]:
    """Every object that the gateway should have, neither stamped nor pruned.

    Raises:
        SpecError: a part that the CRD passes through unchecked (affinity, alert labels, an
            address) cannot be made into a valid object.
    """
    metrics = inputs.gateway.spec.observability.metrics
    children = [
        build_service_account(inputs, COMPONENT_RUNTIME),
        build_runtime_config(inputs),
        build_service(inputs),
        build_metrics_service(inputs) if metrics.enabled else None,
        build_runtime_policy(inputs),
        *build_collector(inputs),
        *build_otel_collector(inputs),
        build_deployment(inputs),
        build_hpa(inputs),
        build_scaled_object(inputs),
        build_pdb(inputs),
        build_http_route(inputs),
        build_service_monitor(inputs),
        build_prometheus_rule(inputs),
    ]
    return [child for child in children if child is not None]
