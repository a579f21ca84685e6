"""The collector as an OpenTelemetryCollector: the OpenTelemetry operator runs it.

Its pipeline, image and bounds are those of the managed collector, and so is the name of the
Service that it ends up with: the runtime's settings are the same in both modes, and a change
of mode restarts no runtime pod. Account and network policy stay ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from igw_operator.api.objects import Manifest
from igw_operator.api.observability import CollectorMode
from igw_operator.conventions import COMPONENT_COLLECTOR
from igw_operator.plan.collector import (
    GO_MEMORY_LIMIT,
    RESOURCES,
    STRATEGY,
    SUFFIX,
    wants_collector,
)
from igw_operator.plan.collector_config import build_collector_config, read_settings
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata
from igw_operator.plan.network_policy import build_collector_policy
from igw_operator.plan.security import build_container_security, build_pod_security
from igw_operator.plan.service_account import build_service_account
from igw_operator.plan.service_monitor import build_collector_monitor

KIND: Final = "OpenTelemetryCollector"


def build_otel_collector(inputs: PlanInput) -> list[Manifest]:
    """The OpenTelemetryCollector and what is ours around it; nothing without its CRD."""
    wanted = wants_collector(inputs.gateway.spec, CollectorMode.OPENTELEMETRY_COLLECTOR)
    if not (wanted and inputs.capabilities.otel_collectors):
        return []
    policy, monitor = build_collector_policy(inputs), build_collector_monitor(inputs)
    # Its pods take no pull secrets, but their account does.
    account = build_service_account(inputs, COMPONENT_COLLECTOR, SUFFIX) | {
        "imagePullSecrets": [{"name": secret} for secret in inputs.runtime.spec.image_pull_secrets]
    }
    return [it for it in (account, policy, _build_collector(inputs), monitor) if it is not None]


def list_claims(manifest: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Kind and name of what the OpenTelemetry operator makes of a manifest and we may make too.

    It would take them over from us by force, and delete what it cannot change.
    """
    if manifest["kind"] != KIND:
        return set()
    name = f"{manifest['metadata']['name']}-{SUFFIX}"
    return {("Deployment", name), ("Service", name)}


def _build_collector(inputs: PlanInput) -> Manifest:
    gateway, runtime = inputs.gateway, inputs.runtime
    return {
        "apiVersion": "opentelemetry.io/v1beta1",
        "kind": KIND,
        # The OpenTelemetry operator hands our label of the gateway on to what it makes, which is
        # how we see it.
        "metadata": build_metadata(gateway, COMPONENT_COLLECTOR),
        "spec": {
            "mode": "deployment",
            "replicas": 1,
            # Else it would rewrite the configuration for its own release, and we write it back.
            "upgradeStrategy": "none",
            "image": runtime.spec.collector_image,
            "imagePullPolicy": runtime.spec.image_pull_policy,
            "serviceAccount": gateway.child_name(SUFFIX),
            "deploymentUpdateStrategy": STRATEGY,
            "env": [{"name": "GOMEMLIMIT", "value": GO_MEMORY_LIMIT}],
            "resources": {kind: dict(values) for kind, values in RESOURCES.items()},
            "podSecurityContext": build_pod_security(),
            "securityContext": build_container_security(),
            "config": build_collector_config(read_settings(gateway)),
        },
    }
