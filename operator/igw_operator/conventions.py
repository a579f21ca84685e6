"""Every name that crosses a boundary: groups, labels, ports, child names, metric names.

Used by all rooms. Nothing here computes more than a string; a name that two rooms (or
the operator and the runtime) must agree on is written here and nowhere else.
"""

from __future__ import annotations

import hashlib
from typing import Final

GROUP: Final = "inference.igw.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
GATEWAY_KIND: Final = "InferenceGateway"
GATEWAY_PLURAL: Final = "inferencegateways"
RUNTIME_KIND: Final = "InferenceRuntime"
RUNTIME_PLURAL: Final = "inferenceruntimes"

# Of the operator's own Deployment and ServiceMonitor, as manifests/ ships them.
OPERATOR_NAME: Final = "igw-operator"
FIELD_MANAGER: Final = "igw-operator"
STATUS_MANAGER: Final = "igw-operator-status"

# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "igw-operator"
PART_OF: Final = "inference-gateway"
LABEL_GATEWAY: Final = f"{GROUP}/gateway"
LABEL_SERVICE: Final = f"{GROUP}/service"  # "metrics" on the Service that is scraped

COMPONENT_RUNTIME: Final = "runtime"
COMPONENT_COLLECTOR: Final = "collector"
COMPONENT_SLO: Final = "slo"

ANNOTATION_APPLIED_HASH: Final = f"{GROUP}/applied-hash"
ANNOTATION_CONFIG_HASH: Final = f"{GROUP}/config-hash"
# On a gateway's Deployments: which revision of its runtime they were built from, and what was
# applied last. On the objects only, never on their pod templates.
ANNOTATION_REVISION: Final = f"{GROUP}/revision"
ANNOTATION_APPLIED_TEMPLATE: Final = f"{GROUP}/applied-template"
# On an InferenceRuntime, as storageclass.kubernetes.io/is-default-class is on a StorageClass.
ANNOTATION_DEFAULT_RUNTIME: Final = f"{GROUP}/is-default-runtime"
# On a gateway: when to raise an alert that is only a drill (RFC 3339).
ANNOTATION_ALERT_DRILL: Final = f"{GROUP}/alert-drill"
# On that alert: which drill it is.
ALERT_LABEL_DRILL: Final = "drill"

PORT_SERVICE: Final = 80
PORT_SERVICE_TLS: Final = 443
PORT_HTTP: Final = 8080
PORT_GRPC: Final = 9000
PORT_METRICS: Final = 9090
PORT_OTLP_GRPC: Final = 4317
PORT_OTLP_HTTP: Final = 4318
PORT_COLLECTOR_HEALTH: Final = 13133
PORT_COLLECTOR_METRICS: Final = 8888
PORT_SPAN_METRICS: Final = 8889
PORT_NAME_HTTP: Final = "http"
PORT_NAME_HTTPS: Final = "https"  # of the Service; a pod's port is called http either way
PORT_NAME_GRPC: Final = "grpc"
PORT_NAME_METRICS: Final = "metrics"
PORT_NAME_SPAN_METRICS: Final = "span-metrics"

# What implementations of Gateway API put on a proxy that runs beside its Gateway.
# https://gateway-api.sigs.k8s.io/geps/gep-1762/
LABEL_PROXY_OF: Final = "gateway.networking.k8s.io/gateway-name"
LABEL_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"

CONTAINER_RUNTIME: Final = "runtime"
CONTAINER_FETCH: Final = "fetch"
CONTAINER_COLLECTOR: Final = "collector"
CONTAINER_COLLECTOR_CHECK: Final = "check-config"  # runs to its end before the collector starts
CONFIG_FILE: Final = "runtime.json"
CONFIG_DIR: Final = "/etc/igw"
MODEL_DIR: Final = "/mnt/models"
MODEL_PACKAGE: Final = "package"  # what is fetched, in that folder
TLS_DIR: Final = "/etc/igw-tls"
COLLECTOR_CONFIG_FILE: Final = "collector.yaml"
COLLECTOR_CONFIG_DIR: Final = "/etc/otelcol"

RUN_AS: Final = 65532  # "nonroot", as in distroless

# The runtime's metrics that rules are made of (the seed's names, exact).
METRIC_REQUESTS: Final = "http_requests_total"
METRIC_DURATION: Final = "http_request_duration_seconds"
# The endpoints that answer predictions; probes and /metrics never count.
ENDPOINT_PATTERN: Final = (
    "/predict|/v2/models/.+/infer|/v1/models/.+:predict"
    "|/inference[.]GRPCInferenceService/ModelInfer"
)
# Spans that no collector got, as the runtime counts them.
METRIC_SPANS_LOST: Final = "igw_runtime_spans_lost_total"
# On the series of a collector, so that nobody takes its pod for one that serves.
TARGET_COMPONENT: Final = "component"
# One observation for each prediction, whatever its class.
METRIC_PREDICTIONS: Final = "model_prediction_confidence_count"
METRIC_PROCESS_START: Final = "process_start_time_seconds"
METRIC_QUEUE: Final = "inference_queue_size"
# Its label hash is the digest of the live settings that a pod follows.
METRIC_LIVE_SETTINGS: Final = "igw_runtime_live_settings_info"
# The Pods metrics that an adapter makes of them (manifests/prometheus-adapter).
METRIC_REQUESTS_PER_SECOND: Final = "http_requests_per_second"
METRIC_QUEUE_SIZE: Final = METRIC_QUEUE
METRIC_PREFIX: Final = "igw_operator_"
METRIC_DESIRED_REPLICAS: Final = f"{METRIC_PREFIX}gateway_desired_replicas"

# Scrape and rule intervals that the SLO rules' arithmetic depends on.
SCRAPE_INTERVAL_SECONDS: Final = 15
RULE_INTERVAL_SECONDS: Final = 30
RULE_INTERVAL_LONG_SECONDS: Final = 120

NAME_LIMIT: Final = 63
NAME_PATTERN: Final = "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
NAME_MESSAGE: Final = (
    "metadata.name becomes the name of a Service: at most 63 lower-case letters, digits "
    "and '-', starting with a letter and ending with a letter or digit"
)
NAME_GUARD_CEL: Final = {
    "rule": f"self.metadata.name.matches('{NAME_PATTERN}')",
    "message": NAME_MESSAGE,
}
_LONGEST_SUFFIX: Final = "-collector"
_HASH_LENGTH: Final = 8
_CONTENT_LENGTH: Final = 10


def child_name(gateway: str, suffix: str = "") -> str:
    """Name of a child object: ``<gateway>[-suffix]``, at most 63 characters.

    A gateway's name that would not leave room for the longest suffix is cut and gets a
    hash of the whole name, so that two long names with one prefix never meet.
    """
    base = gateway
    room = NAME_LIMIT - len(_LONGEST_SUFFIX)
    if len(base) > room:
        digest = hashlib.sha256(gateway.encode()).hexdigest()[:_HASH_LENGTH]
        base = f"{base[: room - _HASH_LENGTH - 1].rstrip('-')}-{digest}"
    return f"{base}-{suffix}" if suffix else base


def content_name(child: str, digest: str) -> str:
    """Name of a child whose content never changes: another content is another object.

    Longer than `child_name` allows, so for kinds only whose name is no label and no host name,
    such as a ConfigMap (253 characters).
    """
    return f"{child}-{digest[:_CONTENT_LENGTH]}"
