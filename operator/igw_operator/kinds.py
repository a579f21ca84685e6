"""Every kind of object that the operator reads or writes, and where the API serves it.

Read by ``world`` (what to list and watch), ``act`` (where to write) and ``handlers``;
the ClusterRole in ``manifests/base`` is tested against it. What the objects contain is
no business of this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from igw_operator import conventions

_MANAGED: Final = f"{conventions.LABEL_MANAGED_BY}={conventions.MANAGED_BY}"
_SERVING: Final = conventions.LABEL_GATEWAY  # the label exists, whatever its value


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind: how it is named, where it lives, which of its objects concern us."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    selector: str = ""
    """Label selector of the objects that are listed and watched; empty: all."""
    optional: bool = False
    """Whether the API may be absent from a cluster."""

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of one object, or of the collection where no name is given."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


def _core(kind: str, plural: str, selector: str = _MANAGED) -> Resource:
    return Resource(group="", version="v1", kind=kind, plural=plural, selector=selector)


GATEWAY: Final = Resource(
    group=conventions.GROUP,
    version=conventions.VERSION,
    kind=conventions.GATEWAY_KIND,
    plural=conventions.GATEWAY_PLURAL,
)
RUNTIME: Final = Resource(
    group=conventions.GROUP,
    version=conventions.VERSION,
    kind=conventions.RUNTIME_KIND,
    plural=conventions.RUNTIME_PLURAL,
    namespaced=False,
)
SERVICE_ACCOUNT: Final = _core("ServiceAccount", "serviceaccounts")
CONFIG_MAP: Final = _core("ConfigMap", "configmaps")
SERVICE: Final = _core("Service", "services")
POD: Final = _core("Pod", "pods", selector=_SERVING)
DEPLOYMENT: Final = Resource(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    # Ours, and those that the OpenTelemetry operator makes of our collectors.
    selector=_SERVING,
)
REPLICA_SET: Final = Resource(
    group="apps", version="v1", kind="ReplicaSet", plural="replicasets", selector=_SERVING
)
AUTOSCALER: Final = Resource(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    selector=_MANAGED,
)
DISRUPTION_BUDGET: Final = Resource(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    selector=_MANAGED,
)
NETWORK_POLICY: Final = Resource(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    selector=_MANAGED,
)
SERVICE_MONITOR: Final = Resource(
    group="monitoring.coreos.com",
    version="v1",
    kind="ServiceMonitor",
    plural="servicemonitors",
    selector=_MANAGED,
    optional=True,
)
PROMETHEUS_RULE: Final = Resource(
    group="monitoring.coreos.com",
    version="v1",
    kind="PrometheusRule",
    plural="prometheusrules",
    selector=_MANAGED,
    optional=True,
)
HTTP_ROUTE: Final = Resource(
    group="gateway.networking.k8s.io",
    version="v1",
    kind="HTTPRoute",
    plural="httproutes",
    selector=_MANAGED,
    optional=True,
)
OTEL_COLLECTOR: Final = Resource(
    group="opentelemetry.io",
    version="v1beta1",
    kind="OpenTelemetryCollector",
    plural="opentelemetrycollectors",
    selector=_MANAGED,
    optional=True,
)
# Of the platform team: whether there is one, and how clients reach it.
PARENT_GATEWAY: Final = Resource(
    group="gateway.networking.k8s.io",
    version="v1",
    kind="Gateway",
    plural="gateways",
    optional=True,
)
# Of the platform team: which monitors and rules each selects, and in which namespaces.
PROMETHEUS: Final = Resource(
    group="monitoring.coreos.com",
    version="v1",
    kind="Prometheus",
    plural="prometheuses",
    optional=True,
)
NAMESPACE: Final = Resource(
    group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False
)
SCALED_OBJECT: Final = Resource(
    group="keda.sh",
    version="v1alpha1",
    kind="ScaledObject",
    plural="scaledobjects",
    selector=_MANAGED,
    optional=True,
)

OWN: Final = (GATEWAY, RUNTIME)
CHILDREN: Final = (
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SERVICE,
    DEPLOYMENT,
    AUTOSCALER,
    SCALED_OBJECT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    SERVICE_MONITOR,
    PROMETHEUS_RULE,
    HTTP_ROUTE,
    OTEL_COLLECTOR,
)
OBSERVED: Final = (POD, REPLICA_SET)
# Of others, and only read: Gateways that routes name, and what decides on monitoring.
SURROUNDING: Final = (PARENT_GATEWAY, PROMETHEUS, NAMESPACE)
WATCHED: Final = (*OWN, *CHILDREN, *OBSERVED, *SURROUNDING)

CHILD_BY_KIND: Final[Mapping[str, Resource]] = {child.kind: child for child in CHILDREN}


def child_resource(manifest: Mapping[str, Any]) -> Resource:
    """The table's row for a child.

    Raises:
        KeyError: a builder made a kind that this table (and so the ClusterRole) lacks.
    """
    return CHILD_BY_KIND[manifest["kind"]]
