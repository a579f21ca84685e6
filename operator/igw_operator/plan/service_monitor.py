"""The ServiceMonitors: how a Prometheus finds, scrapes and labels a gateway's pods."""

from __future__ import annotations

from typing import Final

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.api.observability import CollectorMode
from igw_operator.conventions import COMPONENT_COLLECTOR, COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata

# Series of one pod without its prediction classes; more means a label went wild.
_SAMPLES_BASE: Final = 5000
# A collector counts the spans of all pods: about 250 samples for each of them.
_SAMPLES_OF_COLLECTOR: Final = 50_000


def build_monitor_labels(inputs: PlanInput, labels: dict[str, str]) -> dict[str, str]:
    """Labels by which a Prometheus selects the object; they cannot hide whose it is."""
    metrics = inputs.gateway.spec.observability.metrics
    return {**inputs.defaults.monitor_labels, **metrics.labels, **labels}


def build_service_monitor(inputs: PlanInput) -> Manifest | None:
    """The monitor, or None where metrics are off or the cluster has no such kind."""
    gateway = inputs.gateway
    metrics = gateway.spec.observability.metrics
    if not (metrics.enabled and inputs.capabilities.service_monitors):
        return None
    metadata = build_metadata(gateway, COMPONENT_RUNTIME)
    metadata["labels"] = build_monitor_labels(inputs, metadata["labels"])
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata,
        "spec": {
            "selector": {
                "matchLabels": {
                    conventions.LABEL_GATEWAY: gateway.child_name(),
                    conventions.LABEL_SERVICE: "metrics",
                }
            },
            "sampleLimit": _SAMPLES_BASE + 2 * metrics.max_prediction_classes,
            "endpoints": [
                {
                    "port": conventions.PORT_NAME_METRICS,
                    "path": "/metrics",
                    "interval": f"{conventions.SCRAPE_INTERVAL_SECONDS}s",
                    "scrapeTimeout": "10s",
                    "relabelings": _build_relabelings(gateway.name),
                }
            ],
        },
    }


def build_collector_monitor(inputs: PlanInput) -> Manifest | None:
    """That of the collector, be it managed or the OpenTelemetry operator's; None as above.

    What it loses on the way to the backend nobody else knows.
    """
    gateway = inputs.gateway
    observability = gateway.spec.observability
    if not (observability.metrics.enabled and inputs.capabilities.service_monitors):
        return None
    if observability.collector.mode is CollectorMode.MANAGED:
        key, values = conventions.LABEL_COMPONENT, [COMPONENT_COLLECTOR]
        ports = [conventions.PORT_NAME_METRICS, conventions.PORT_NAME_SPAN_METRICS]
    else:
        # Of the Services that the OpenTelemetry operator makes, and as it names their ports: one
        # has the collector's own metrics, the other one those of its exporter.
        key, values = "operator.opentelemetry.io/collector-service-type", ["monitoring", "base"]
        ports = ["monitoring", "prometheus"]
    metadata = build_metadata(gateway, COMPONENT_COLLECTOR, "collector")
    metadata["labels"] = build_monitor_labels(inputs, metadata["labels"])
    component = {
        "action": "replace",
        "targetLabel": conventions.TARGET_COMPONENT,
        "replacement": COMPONENT_COLLECTOR,
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata,
        "spec": {
            "selector": {
                "matchLabels": {conventions.LABEL_GATEWAY: gateway.child_name()},
                "matchExpressions": [{"key": key, "operator": "In", "values": values}],
            },
            "sampleLimit": _SAMPLES_OF_COLLECTOR,
            "endpoints": [
                {
                    "port": port,
                    "path": "/metrics",
                    "interval": f"{conventions.SCRAPE_INTERVAL_SECONDS}s",
                    "scrapeTimeout": "10s",
                    "relabelings": [*_build_relabelings(gateway.name), component],
                }
                for port in ports
            ],
        },
    }


def _build_relabelings(gateway: str) -> list[dict[str, object]]:
    return [
        # prometheus-operator labels each target with endpoint=<port name>. The runtime's own
        # endpoint="/predict" would become exported_endpoint, and no rule would match it.
        {"action": "labeldrop", "regex": "endpoint"},
        {
            "action": "replace",
            "sourceLabels": ["__meta_kubernetes_namespace"],
            "targetLabel": "namespace",
        },
        # Said outright: the label of the Service is cut where the gateway's name is long.
        {"action": "replace", "targetLabel": "gateway", "replacement": gateway},
    ]
