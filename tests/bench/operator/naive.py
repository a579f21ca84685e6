"""A kopf operator as tutorials write it, making the same children: what ours is compared with.

`on.create`, `on.update` and `on.resume` make or patch every child; a timer does so again, to
put drift right, and says in the status whether the Deployments are available. The client is the
official, synchronous one. Run with KUBECONFIG set: ``python naive.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import kopf
import kubernetes
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError

from igw_operator import conventions
from igw_operator.api.objects import Manifest, Runtime, parse_gateway, parse_runtime
from igw_operator.plan.children import build_children
from igw_operator.plan.inputs import Capabilities, PlanInput
from igw_operator.plan.prune import prune

WHAT = (conventions.GROUP, conventions.VERSION, conventions.GATEWAY_PLURAL)
EVERY_SECONDS = 30


@cache
def client() -> DynamicClient:
    """The one client of all handlers."""
    kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]
    return DynamicClient(kubernetes.client.ApiClient())  # type: ignore[no-untyped-call]


@cache
def runtime() -> Runtime:
    """The cluster's default runtime."""
    api = client().resources.get(api_version=conventions.API_VERSION, kind=conventions.RUNTIME_KIND)
    return parse_runtime(api.get().items[0].to_dict())


def children_of(body: Mapping[str, Any]) -> list[Manifest]:
    """What the gateway should have."""
    manifest = {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")}
    capabilities = Capabilities(service_monitors=True, prometheus_rules=True)
    inputs = PlanInput(
        gateway=parse_gateway(manifest), runtime=runtime(), capabilities=capabilities
    )
    return [prune(child) for child in build_children(inputs)]


@kopf.on.create(*WHAT)
@kopf.on.update(*WHAT)
@kopf.on.resume(*WHAT)
@kopf.timer(*WHAT, interval=EVERY_SECONDS)
def reconcile(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
    """Make or patch every child, and report."""
    wanted = available = 0
    for child in children_of(dict(body)):
        kopf.adopt(child, owner=body)
        api = client().resources.get(api_version=child["apiVersion"], kind=child["kind"])
        namespace, name = child["metadata"]["namespace"], child["metadata"]["name"]
        try:
            live = api.create(body=child, namespace=namespace)
        except ConflictError:
            live = api.patch(
                body=child,
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
            )
        if child["kind"] == "Deployment":
            wanted += 1
            status = live.to_dict().get("status") or {}
            available += (status.get("availableReplicas") or 0) >= live.spec.replicas
    ready = wanted == available
    patch.status["observedGeneration"] = body.metadata["generation"]
    patch.status["conditions"] = [
        {
            "type": "Ready",
            "status": str(ready),
            "reason": "Available" if ready else "Waiting",
            "message": f"{available} of {wanted} Deployments are available",
            "observedGeneration": body.metadata["generation"],
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ]


if __name__ == "__main__":
    runtime()  # and with it the client, before there are threads that each would make one
    kopf.run(clusterwide=True, standalone=True)
