"""Names and labels that every child of a gateway carries.

Two sets with different rules. The *selector* labels go into ``spec.selector`` of Deployments,
which is immutable: they hold nothing that may ever change for the same gateway (no version,
no model). The *standard* labels only help people and queries.
"""

from __future__ import annotations

from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway
from igw_operator.api.observability import CollectorMode

_APP_NAMES: Final = {
    conventions.COMPONENT_RUNTIME: "igw-runtime",
    conventions.COMPONENT_COLLECTOR: "igw-collector",
}


def build_selector(gateway: Gateway, component: str) -> dict[str, str]:
    """Labels that select the pods of one component of one gateway, for ever."""
    return {
        conventions.LABEL_NAME: _APP_NAMES[component],
        # The base of the children's names, cut where the gateway's own is long: whoever knows a
        # child's name knows its labels, and `world.cache` finds a gateway's children by it.
        conventions.LABEL_INSTANCE: gateway.child_name(),
    }


def build_collector_selector(gateway: Gateway) -> dict[str, str]:
    """Labels of the collector's pods, whoever makes them."""
    if gateway.spec.observability.collector.mode is CollectorMode.MANAGED:
        return build_selector(gateway, conventions.COMPONENT_COLLECTOR)
    # Our label is handed on by the OpenTelemetry operator; the other one is its own.
    return {
        conventions.LABEL_GATEWAY: gateway.child_name(),
        conventions.LABEL_COMPONENT: "opentelemetry-collector",
    }


def build_labels(gateway: Gateway, component: str) -> dict[str, str]:
    """The standard labels of an object, or of a pod, of one component."""
    return {
        conventions.LABEL_NAME: _APP_NAMES.get(component, f"igw-{component}"),
        conventions.LABEL_INSTANCE: gateway.child_name(),
        conventions.LABEL_COMPONENT: component,
        conventions.LABEL_PART_OF: conventions.PART_OF,
        conventions.LABEL_MANAGED_BY: conventions.MANAGED_BY,
        conventions.LABEL_GATEWAY: gateway.child_name(),
    }


def build_metadata(gateway: Gateway, component: str, suffix: str = "") -> dict[str, Any]:
    """The metadata of a child: its name, its place, its component."""
    return {
        "name": gateway.child_name(suffix),
        "namespace": gateway.namespace,
        "labels": build_labels(gateway, component),
    }
