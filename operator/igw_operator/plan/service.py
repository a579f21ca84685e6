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
    ports = [
        {
            "name": conventions.PORT_NAME_HTTP,
            "port": conventions.PORT_SERVICE,
            "protocol": "TCP",
            "targetPort": conventions.PORT_NAME_HTTP,
        }
    ]
    if gateway.spec.serving.grpc:
        ports.append(
            {
                "name": conventions.PORT_NAME_GRPC,
                "port": conventions.PORT_GRPC,
                "protocol": "TCP",
                "targetPort": conventions.PORT_NAME_GRPC,
                # HTTP/2 without TLS: meshes and proxies balance calls, not connections.
                # https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
                "appProtocol": "kubernetes.io/h2c",
            }
        )
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME)
        | {"annotations": dict(gateway.spec.service.annotations)},
        "spec": {
            "type": gateway.spec.service.type,
            "selector": build_selector(gateway, COMPONENT_RUNTIME),
            "ports": ports,
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
