"""The managed collector: one pod a gateway between the runtime and the trace backend.

One replica, because the decision on a trace needs all its spans in one place. It changes by
surge: the new one is ready before the old one goes, and the old one decides what it holds
before it exits, so a change of its configuration loses no spans.

Each configuration has a ConfigMap of its own, named by its content: a pod that starts again,
whichever template it is of, finds the one that it was made for. The new pod has the collector
itself check it first; where that fails, the old pod goes on.
"""

from __future__ import annotations

from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Manifest
from igw_operator.api.observability import CollectorMode
from igw_operator.conventions import COMPONENT_COLLECTOR
from igw_operator.plan.collector_config import render_collector_config
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_labels, build_metadata, build_selector
from igw_operator.plan.network_policy import build_collector_policy
from igw_operator.plan.security import build_container_security, build_pod_security
from igw_operator.plan.service import build_port
from igw_operator.plan.service_account import build_service_account
from igw_operator.plan.service_monitor import build_collector_monitor

SUFFIX: Final = "collector"
_PORTS: Final = (
    ("otlp-grpc", conventions.PORT_OTLP_GRPC),
    ("otlp-http", conventions.PORT_OTLP_HTTP),
    (conventions.PORT_NAME_METRICS, conventions.PORT_COLLECTOR_METRICS),
    (conventions.PORT_NAME_SPAN_METRICS, conventions.PORT_SPAN_METRICS),
)
_CONFIG_ARGUMENT: Final = (
    f"--config={conventions.COLLECTOR_CONFIG_DIR}/{conventions.COLLECTOR_CONFIG_FILE}"
)
RESOURCES: Final = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}
# Four fifths of the limit: Go collects harder before the memory limiter has to refuse spans.
GO_MEMORY_LIMIT: Final = "410MiB"
STRATEGY: Final = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
}


def wants_collector(spec: GatewaySpec, mode: CollectorMode) -> bool:
    """Whether this gateway's spans go to a collector of that mode."""
    observability = spec.observability
    return observability.tracing.enabled and observability.collector.mode is mode


def build_collector(inputs: PlanInput) -> list[Manifest]:
    """All the objects of the collector, or none."""
    if not wants_collector(inputs.gateway.spec, CollectorMode.MANAGED):
        return []
    policy, monitor = build_collector_policy(inputs), build_collector_monitor(inputs)
    return [
        build_service_account(inputs, COMPONENT_COLLECTOR, SUFFIX),
        _build_config(inputs),
        _build_service(inputs),
        *([policy] if policy else []),
        _build_deployment(inputs),
        *([monitor] if monitor else []),
    ]


def _build_config(inputs: PlanInput) -> Manifest:
    text = render_collector_config(inputs.gateway)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build_metadata(inputs.gateway, COMPONENT_COLLECTOR, SUFFIX)
        | {"name": _name_config(inputs, text)},
        "data": {conventions.COLLECTOR_CONFIG_FILE: text},
    }


def _name_config(inputs: PlanInput, text: str) -> str:
    return conventions.content_name(inputs.gateway.child_name(SUFFIX), build_digest(text))


def _build_service(inputs: PlanInput) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(inputs.gateway, COMPONENT_COLLECTOR, SUFFIX),
        "spec": {
            "type": "ClusterIP",
            "selector": build_selector(inputs.gateway, COMPONENT_COLLECTOR),
            "ports": [build_port(name, port) for name, port in _PORTS],
        },
    }


def _build_deployment(inputs: PlanInput) -> Manifest:
    gateway = inputs.gateway
    config = _name_config(inputs, render_collector_config(gateway))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(gateway, COMPONENT_COLLECTOR, SUFFIX),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": build_selector(gateway, COMPONENT_COLLECTOR)},
            "strategy": STRATEGY,
            "revisionHistoryLimit": 2,
            "template": {
                "metadata": {"labels": build_labels(gateway, COMPONENT_COLLECTOR)},
                "spec": {
                    "serviceAccountName": gateway.child_name(SUFFIX),
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": build_pod_security(),
                    "imagePullSecrets": [
                        {"name": secret} for secret in inputs.runtime.spec.image_pull_secrets
                    ],
                    "initContainers": [_build_check(inputs)],
                    "containers": [_build_container(inputs)],
                    # The collector reads its configuration once: another name starts a new one.
                    "volumes": [{"name": "config", "configMap": {"name": config}}],
                },
            },
        },
    }


def _build_check(inputs: PlanInput) -> dict[str, Any]:
    """The collector's own check, by the very image that is to run with the configuration."""
    return {
        "name": conventions.CONTAINER_COLLECTOR_CHECK,
        **_build_process(inputs),
        "args": ["validate", _CONFIG_ARGUMENT],
    }


def _build_container(inputs: PlanInput) -> dict[str, Any]:
    ports = (*_PORTS, ("health", conventions.PORT_COLLECTOR_HEALTH))
    probe = {"httpGet": {"path": "/", "port": "health"}, "timeoutSeconds": 2}
    return {
        "name": conventions.CONTAINER_COLLECTOR,
        **_build_process(inputs),
        "args": [_CONFIG_ARGUMENT],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports],
        "readinessProbe": probe | {"periodSeconds": 5},
        "livenessProbe": probe | {"periodSeconds": 10, "failureThreshold": 6},
    }


def _build_process(inputs: PlanInput) -> dict[str, Any]:
    """What check and collector share: the image, its bounds, and the configuration."""
    return {
        "image": inputs.runtime.spec.collector_image,
        "imagePullPolicy": inputs.runtime.spec.image_pull_policy,
        "env": [{"name": "GOMEMLIMIT", "value": GO_MEMORY_LIMIT}],
        "resources": {kind: dict(values) for kind, values in RESOURCES.items()},
        "securityContext": build_container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": conventions.COLLECTOR_CONFIG_DIR, "readOnly": True}
        ],
        # It has no last words of its own: those of its log, without any right to read logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
