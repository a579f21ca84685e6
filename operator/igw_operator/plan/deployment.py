"""The Deployment that serves: its rollout, its pod, its one container.

The rendered pod template is a promise: what this module writes for an unchanged spec must
stay the same across operator versions, or an upgrade restarts the fleet (golden tests).
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.fields import parse_duration
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.fetching import build_fetchers
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_labels, build_metadata, build_selector
from igw_operator.plan.places import list_volumes, place_models
from igw_operator.plan.runtime_config import hash_static
from igw_operator.plan.scaling import choose_scaling
from igw_operator.plan.scheduling import build_scheduling
from igw_operator.plan.security import build_container_security, build_pod_security

# After the drain and the last request, the runtime flushes its spans: 2.9 to 6.0 s were
# measured with a dead collector. 5 s is what the runtime asks for, the rest is margin.
_FLUSH_SECONDS: Final = 10
# How long a model may load before the container is started anew; shorter than the rollout's
# deadline, or a slow model looks like a stuck rollout.
_START_SECONDS: Final = 540
_START_PERIOD_SECONDS: Final = 2
_PROGRESS_SECONDS: Final = 600
# The largest archive, at 3 MB/s. It is fetched before the start is timed, one after the other.
_FETCH_SECONDS: Final = 3000
# Multipart uploads are spooled here; the root is read-only.
_SCRATCH_LIMIT: Final = "1Gi"

_FIELD_ENV: Final = (
    # The runtime names itself by these in its spans (k8s.* resource attributes), so that
    # no collector needs the right to read pods.
    ("POD_NAME", "metadata.name"),
    ("POD_NAMESPACE", "metadata.namespace"),
    ("POD_UID", "metadata.uid"),
    ("NODE_NAME", "spec.nodeName"),
)


def build_deployment(inputs: PlanInput) -> Manifest:
    """The Deployment of the runtime."""
    gateway = inputs.gateway
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME),
        "spec": {
            # None is left out of the applied object: the autoscaler owns the field then.
            "replicas": gateway.spec.replicas if choose_scaling(gateway.spec) is None else None,
            "selector": {"matchLabels": build_selector(gateway, COMPONENT_RUNTIME)},
            # A new replica serves before an old one goes: availability is the objective. Where
            # there is no room for one more pod, the rollout waits and says Unschedulable.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
            },
            # A replica that dies in its first seconds must stop the rollout.
            "minReadySeconds": 10,
            "progressDeadlineSeconds": _PROGRESS_SECONDS
            + _FETCH_SECONDS * sum(it.is_fetched for it in place_models(gateway.spec)),
            "revisionHistoryLimit": 5,
            "template": _build_template(inputs),
        },
    }


def _build_template(inputs: PlanInput) -> dict[str, Any]:
    gateway = inputs.gateway
    spec = gateway.spec
    return {
        "metadata": {
            "labels": build_labels(gateway, COMPONENT_RUNTIME),
            "annotations": {conventions.ANNOTATION_CONFIG_HASH: hash_static(gateway)},
        },
        "spec": {
            "serviceAccountName": gateway.child_name(),
            "automountServiceAccountToken": False,
            # One variable for each Service of the namespace would be noise, and a slow start.
            "enableServiceLinks": False,
            "securityContext": build_pod_security(),
            "terminationGracePeriodSeconds": _count_grace_seconds(spec),
            "imagePullSecrets": [{"name": name} for name in inputs.runtime.spec.image_pull_secrets],
            "containers": [_build_container(inputs)],
            "volumes": _build_volumes(gateway),
        }
        # Left out rather than empty: the template of every other gateway stays as it was.
        | ({"initContainers": fetchers} if (fetchers := build_fetchers(inputs)) else {})
        | build_scheduling(spec.scheduling, build_selector(gateway, COMPONENT_RUNTIME)),
    }


def _build_container(inputs: PlanInput) -> dict[str, Any]:
    spec = inputs.gateway.spec
    return {
        "name": conventions.CONTAINER_RUNTIME,
        "image": inputs.runtime.spec.image,
        "imagePullPolicy": inputs.runtime.spec.image_pull_policy,
        # No command: the image's own ENTRYPOINT is PID 1 and gets SIGTERM.
        "args": ["serve", "--config", f"{conventions.CONFIG_DIR}/{conventions.CONFIG_FILE}"],
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in _FIELD_ENV
        ],
        "ports": _build_ports(spec),
        "resources": {
            "requests": dict(spec.resources.requests),
            "limits": dict(spec.resources.limits),
        },
        "securityContext": build_container_security(),
        # A crash without last words: the end of its log is in the pod's status then, and from
        # there in the gateway's, without any right to read logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _build_mounts(spec),
    } | _build_probes("HTTP" if spec.serving.tls is None else "HTTPS")


def _build_ports(spec: GatewaySpec) -> list[dict[str, Any]]:
    ports = {
        conventions.PORT_NAME_HTTP: conventions.PORT_HTTP,
        conventions.PORT_NAME_METRICS: conventions.PORT_METRICS,
    }
    if spec.serving.grpc:
        ports[conventions.PORT_NAME_GRPC] = conventions.PORT_GRPC
    return [
        {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()
    ]


def _build_probes(scheme: str) -> dict[str, Any]:
    probes = {
        # Ends with the first success; until then neither of the others runs.
        "startupProbe": _build_probe(
            "/ready",
            period=_START_PERIOD_SECONDS,
            timeout=2,
            failures=_START_SECONDS // _START_PERIOD_SECONDS,
        ),
        "readinessProbe": _build_probe("/ready", period=5, timeout=2, failures=2),
        # Slow to judge: killing an overloaded replica gives its load to the next one.
        "livenessProbe": _build_probe("/health", period=10, timeout=5, failures=6),
    }
    if scheme != "HTTP":  # the default, and not written: it would restart the fleet
        for probe in probes.values():
            probe["httpGet"]["scheme"] = scheme
    return probes


def _build_probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": conventions.PORT_NAME_HTTP},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _build_mounts(spec: GatewaySpec) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        # The whole directory: a subPath mount would never see a live update.
        {"name": "config", "mountPath": conventions.CONFIG_DIR, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the container
    ]
    mounts += [place.build_mount() for place in list_volumes(spec)]
    if spec.serving.tls is not None:
        # A directory, for the same reason as the settings.
        mounts.append({"name": "tls", "mountPath": conventions.TLS_DIR, "readOnly": True})
    return mounts


def _build_volumes(gateway: Gateway) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": gateway.child_name("config")}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH_LIMIT}},
    ]
    volumes += [place.build_volume() for place in list_volumes(gateway.spec)]
    tls = gateway.spec.serving.tls
    if tls is not None:
        volumes.append({"name": "tls", "secret": {"secretName": tls.secret_name}})
    return volumes


def _count_grace_seconds(spec: GatewaySpec) -> int:
    return _FLUSH_SECONDS + ceil(
        parse_duration(spec.serving.drain) + parse_duration(spec.serving.timeout)
    )
