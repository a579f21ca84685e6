"""The two Services of the runtime: the one that clients call and the one that is scraped."""

from __future__ import annotations

from typing import Any

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Manifest
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata, build_selector


def build_service(inputs: PlanInput) -> Manifest:
    """The Service that clients call."""
    gateway = inputs.gateway
    tls = gateway.spec.serving.tls is not None
    name = conventions.PORT_NAME_HTTPS if tls else conventions.PORT_NAME_HTTP
    ports = [build_port(conventions.PORT_NAME_HTTP, choose_port(gateway.spec)) | {"name": name}]
    if tls:
        # Tells proxies that talk to pods by themselves to talk TLS to them.
        ports[0]["appProtocol"] = "https"
    if gateway.spec.serving.grpc:
        # HTTP/2, which without TLS has a name of its own: meshes and proxies then balance calls,
        # not connections.
        # https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
        protocol = {"appProtocol": "https" if tls else "kubernetes.io/h2c"}
        ports.append(build_port(conventions.PORT_NAME_GRPC, conventions.PORT_GRPC) | protocol)
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


def choose_port(spec: GatewaySpec) -> int:
    """The port of the Service that clients and routes use."""
    return conventions.PORT_SERVICE if spec.serving.tls is None else conventions.PORT_SERVICE_TLS


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
            "ports": [build_port(conventions.PORT_NAME_METRICS, conventions.PORT_METRICS)],
        },
    }


def build_port(name: str, port: int) -> dict[str, Any]:
    """A port that leads to the container's port of the same name."""
    return {"name": name, "port": port, "protocol": "TCP", "targetPort": name}
