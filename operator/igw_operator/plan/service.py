"""The two Services of the runtime: the one that clients call and the one that is scraped."""

from __future__ import annotations

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata, build_selector


def build_service(inputs: PlanInput) -> Manifest:
    """The Service that clients call."""
    gateway = inputs.gateway
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME)
        | {"annotations": dict(gateway.spec.service.annotations)},
        "spec": {
            "type": gateway.spec.service.type,
            "selector": build_selector(gateway, COMPONENT_RUNTIME),
            "ports": [
                {
                    "name": conventions.PORT_NAME_HTTP,
                    "port": conventions.PORT_SERVICE,
                    "protocol": "TCP",
                    "targetPort": conventions.PORT_NAME_HTTP,
                }
            ],
        },
    }


def build_metrics_service(inputs: PlanInput) -> Manifest:
    """The headless Service that Prometheus finds pods by; nobody else should see that port."""
    gateway = inputs.gateway
    metadata = build_metadata(gateway, COMPONENT_RUNTIME, "metrics")
    metadata["labels"][conventions.LABEL_SERVICE] = "metrics"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            # Endpoints drop a pod as soon as it terminates. A draining pod still serves, and
            # one that is not ready is the one to look at: both are to be scraped to the end.
            "publishNotReadyAddresses": True,
            "selector": build_selector(gateway, COMPONENT_RUNTIME),
            "ports": [
                {
                    "name": conventions.PORT_NAME_METRICS,
                    "port": conventions.PORT_METRICS,
                    "protocol": "TCP",
                    "targetPort": conventions.PORT_NAME_METRICS,
                }
            ],
        },
    }
