"""Ways to one object of many, for tests that look at one of them."""

from __future__ import annotations

from typing import Any

from factories import a_gateway, a_runtime
from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.plan.children import build_children
from igw_operator.plan.inputs import Capabilities, Defaults, PlanInput

PODS_METRICS = frozenset({conventions.METRIC_REQUESTS_PER_SECOND, conventions.METRIC_QUEUE_SIZE})
# KEDA's comes beside these, and then an HPA or KEDA is chosen: said where it matters.
EVERY_API = Capabilities(
    service_monitors=True,
    prometheus_rules=True,
    http_routes=True,
    custom_metrics=True,
    pods_metrics=PODS_METRICS,
    otel_collectors=True,
)


def an_input(
    capabilities: Capabilities = EVERY_API,
    defaults: Defaults | None = None,
    runtime: dict[str, Any] | None = None,
    name: str = "photos",
    namespace: str = "demo",
    **spec: Any,
) -> PlanInput:
    """An input with one gateway; keyword arguments are spec fields (camelCase)."""
    return PlanInput(
        gateway=a_gateway(name, namespace, **spec),
        runtime=a_runtime(**(runtime or {})),
        capabilities=capabilities,
        defaults=defaults or Defaults(),
    )


def build(**arguments: Any) -> dict[tuple[str, str], Manifest]:
    """Every child by kind and name; arguments as for `an_input`."""
    children = build_children(an_input(**arguments))
    found = {(child["kind"], child["metadata"]["name"]): child for child in children}
    assert len(found) == len(children), "two children of one kind share a name"
    return found


def pod_spec(deployment: Manifest) -> dict[str, Any]:
    """The pod's spec within a Deployment."""
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def container(deployment: Manifest) -> dict[str, Any]:
    """The only container of a Deployment."""
    (only,) = pod_spec(deployment)["containers"]
    assert isinstance(only, dict)
    return only


def collector_config(children: dict[tuple[str, str], Manifest]) -> Manifest:
    """The ConfigMap that the collector's pods mount."""
    (volume,) = pod_spec(children["Deployment", "photos-collector"])["volumes"]
    return children["ConfigMap", volume["configMap"]["name"]]
