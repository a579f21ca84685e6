"""The HTTPRoute: how requests come from a Gateway of the cluster to the gateway's Service.

Only the paths that answer predictions are led in. /metrics, the probes and the page to try
things on stay inside.
"""

from __future__ import annotations

from decimal import Decimal
from math import ceil
from typing import Any, Final

from igw_operator.api.fields import parse_duration
from igw_operator.api.objects import Manifest
from igw_operator.api.service import ParentRef, Route
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata
from igw_operator.plan.service import choose_port

_EXACT_PATH: Final = "/predict"
_PATH_PREFIXES: Final = ("/v1", "/v2")
# The runtime gives up first and says so with a 504 of its own. A proxy that gave up at the same
# time would cancel requests, which the runtime counts as the client's doing, not as errors.
_GRACE_SECONDS: Final = 1


def build_http_route(inputs: PlanInput) -> Manifest | None:
    """The route, or None where none is asked for or the cluster has no such kind."""
    gateway = inputs.gateway
    route = gateway.spec.service.route
    if route is None or not inputs.capabilities.http_routes:
        return None
    timeout = render_duration(parse_duration(gateway.spec.serving.timeout) + _GRACE_SECONDS)
    common = {
        "backendRefs": [{"name": gateway.child_name(), "port": choose_port(gateway.spec)}],
        "timeouts": {"request": timeout, "backendRequest": timeout},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME),
        "spec": {
            "parentRefs": [_build_parent(parent) for parent in route.parent_refs],
            "hostnames": list(route.hostnames),
            "rules": [rule | common for rule in _build_rules(route)],
        },
    }


def render_duration(seconds: Decimal) -> str:
    """Seconds as Gateway API writes durations: whole numbers, of at most five digits each.

    https://gateway-api.sigs.k8s.io/geps/gep-2257/
    """
    whole, milliseconds = divmod(ceil(seconds * 1000), 1000)
    parts = [(whole, "s"), (milliseconds, "ms")]
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def _build_parent(parent: ParentRef) -> dict[str, Any]:
    return {
        "name": parent.name,
        "namespace": parent.namespace,
        "sectionName": parent.section_name,
    }


def _build_rules(route: Route) -> list[dict[str, Any]]:
    if route.path_prefix is None:
        exact = _build_match("Exact", _EXACT_PATH)
        return [{"matches": [exact, *(_build_match("PathPrefix", it) for it in _PATH_PREFIXES)]}]
    # A prefix is replaced by one of its own, so each path needs its own rule.
    return [
        {
            "matches": [_build_match("Exact", route.path_prefix + _EXACT_PATH)],
            "filters": [_build_rewrite("ReplaceFullPath", "replaceFullPath", _EXACT_PATH)],
        },
        *(
            {
                "matches": [_build_match("PathPrefix", route.path_prefix + path)],
                "filters": [_build_rewrite("ReplacePrefixMatch", "replacePrefixMatch", path)],
            }
            for path in _PATH_PREFIXES
        ),
    ]


def _build_match(kind: str, path: str) -> dict[str, Any]:
    return {"path": {"type": kind, "value": path}}


def _build_rewrite(kind: str, field: str, path: str) -> dict[str, Any]:
    return {"type": "URLRewrite", "urlRewrite": {"path": {"type": kind, field: path}}}
