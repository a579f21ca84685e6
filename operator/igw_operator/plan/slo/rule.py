"""The PrometheusRule of a gateway: its groups, split by how often they are evaluated."""

from __future__ import annotations

from typing import Any

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.conventions import COMPONENT_SLO
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata
from igw_operator.plan.service_monitor import build_monitor_labels
from igw_operator.plan.slo.alerts import (
    build_blindness_alerts,
    build_burn_alert,
    build_drill_alert,
    build_exhausted_alert,
)
from igw_operator.plan.slo.cost import build_cost_record
from igw_operator.plan.slo.drill import find_drill
from igw_operator.plan.slo.objective import Objective, build_objectives
from igw_operator.plan.slo.records import Rule, build_long_records, build_short_records


def build_prometheus_rule(inputs: PlanInput) -> Manifest | None:
    """The rules, or None where metrics are off or the cluster has no such kind."""
    gateway = inputs.gateway
    if not (gateway.spec.observability.metrics.enabled and inputs.capabilities.prometheus_rules):
        return None
    metadata = build_metadata(gateway, COMPONENT_SLO, "slo")
    metadata["labels"] = build_monitor_labels(inputs, metadata["labels"])
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": _build_groups(inputs)},
    }


def _build_groups(inputs: PlanInput) -> list[dict[str, Any]]:
    groups = []
    for objective in build_objectives(inputs.gateway):
        groups += [
            _build_short_group(inputs, objective),
            _build_long_group(inputs, objective),
        ]
    if (cost := inputs.gateway.spec.cost) is not None:
        interval = conventions.RULE_INTERVAL_LONG_SECONDS
        groups.append(
            _build_group(inputs, "cost", interval, [build_cost_record(inputs.gateway, cost)])
        )
    if inputs.gateway.spec.slo.alerting.enabled:
        rules = build_blindness_alerts(inputs)
        groups.append(_build_group(inputs, "alerts", conventions.RULE_INTERVAL_SECONDS, rules))
    if (drill := find_drill(inputs.gateway)) is not None:
        # In a group of its own: that of the real alerts is not loaded anew for it.
        rules = [build_drill_alert(inputs, drill)]
        groups.append(_build_group(inputs, "drill", conventions.RULE_INTERVAL_SECONDS, rules))
    return groups


def _build_short_group(inputs: PlanInput, objective: Objective) -> dict[str, Any]:
    rules = build_short_records(objective)
    if inputs.gateway.spec.slo.alerting.enabled:
        rules.append(build_burn_alert(inputs, objective, "fast"))
    interval = conventions.RULE_INTERVAL_SECONDS
    return _build_group(inputs, f"{objective.name}-short", interval, rules)


def _build_long_group(inputs: PlanInput, objective: Objective) -> dict[str, Any]:
    # Days change slowly and cost more to add up. Yet the interval has to stay well below the
    # 5 minutes that Prometheus looks back for a sample.
    rules = build_long_records(objective, inputs.gateway.spec.slo.window)
    if inputs.gateway.spec.slo.alerting.enabled:
        rules += [
            build_burn_alert(inputs, objective, "slow"),
            build_exhausted_alert(inputs, objective),
        ]
    interval = conventions.RULE_INTERVAL_LONG_SECONDS
    return _build_group(inputs, f"{objective.name}-long", interval, rules)


def _build_group(
    inputs: PlanInput, name: str, interval_seconds: int, rules: list[Rule]
) -> dict[str, Any]:
    gateway = inputs.gateway
    return {
        "name": f"igw-{gateway.namespace}-{gateway.name}-{name}",
        "interval": f"{interval_seconds}s",
        "rules": rules,
    }
