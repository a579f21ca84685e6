"""Objects for tests: one line each, everything but the point left at its default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Runtime, parse_gateway, parse_runtime

RUNTIME_IMAGE = "igw.dev/runtime:0.1.0"


def gateway_manifest(name: str = "photos", namespace: str = "demo", **spec: Any) -> dict[str, Any]:
    """An InferenceGateway as a user writes it; keyword arguments are spec fields (camelCase)."""
    return {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.GATEWAY_KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"name": "resnet50"}} | spec,
    }


def live_gateway_manifest(
    name: str = "photos", namespace: str = "demo", **spec: Any
) -> dict[str, Any]:
    """An InferenceGateway as the API server returns it."""
    manifest = gateway_manifest(name, namespace, **spec)
    manifest["metadata"] |= {"uid": f"uid-{namespace}-{name}", "generation": 1}
    return manifest


def a_gateway(name: str = "photos", namespace: str = "demo", **spec: Any) -> Gateway:
    """A parsed gateway."""
    return parse_gateway(live_gateway_manifest(name, namespace, **spec))


def with_drill(gateway: Gateway, at: str) -> Gateway:
    """The gateway with an alert drill asked for at a time."""
    return replace(gateway, annotations={conventions.ANNOTATION_ALERT_DRILL: at})


def a_runtime(name: str = "default", **spec: Any) -> Runtime:
    """A parsed runtime, the cluster's default."""
    return parse_runtime(
        {
            "apiVersion": conventions.API_VERSION,
            "kind": conventions.RUNTIME_KIND,
            "metadata": {
                "name": name,
                "generation": 1,
                "annotations": {conventions.ANNOTATION_DEFAULT_RUNTIME: "true"},
            },
            "spec": {"image": RUNTIME_IMAGE} | spec,
        }
    )
