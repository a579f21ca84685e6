"""What the builders build from: gateway, runtime, and what the cluster offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from igw_operator.api.objects import Gateway, Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Optional APIs that the cluster serves right now."""

    service_monitors: bool = False
    prometheus_rules: bool = False
    prometheuses: bool = False
    scaled_objects: bool = False
    http_routes: bool = False
    otel_collectors: bool = False
    custom_metrics: bool = False
    """Whether there is a ``custom.metrics.k8s.io`` at all, whatever it serves."""
    pods_metrics: frozenset[str] = frozenset()
    """Those of our Pods metrics that it lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the operator's own settings add to every gateway."""

    monitor_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of ServiceMonitors and PrometheusRules, for a Prometheus that selects by label."""
    runbook_base_url: str = ""
    """Where the runbooks lie: the alert's name takes the place of ``{alert}``, or is appended as
    one more part of the path. Empty: alerts have no runbook link of ours."""
    grafana_url: str = ""
    """Base of the dashboard links in alerts; empty: they have none."""
    prometheus_url: str = ""
    """Base URL of the Prometheus that the operator and KEDA ask; empty: none is known."""
    monitoring_namespaces: tuple[str, ...] = ()
    """Namespaces that may scrape; empty: every namespace may reach the metrics port."""
    proxy_namespaces: tuple[str, ...] = ()
    """Namespaces with the proxies of Gateways, where these are not beside their Gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """All that a builder may look at."""

    gateway: Gateway
    runtime: Runtime
    capabilities: Capabilities = field(default_factory=Capabilities)
    defaults: Defaults = field(default_factory=Defaults)
