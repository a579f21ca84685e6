"""The NetworkPolicies: nothing else can talk to the pods, and telemetry still flows.

Probes need no rule: traffic from the node that a pod runs on is always allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.conventions import COMPONENT_COLLECTOR, COMPONENT_RUNTIME
from igw_operator.plan.endpoints import parse_grpc_port, parse_http_port
from igw_operator.plan.fetching import find_store_port
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_collector_selector, build_metadata, build_selector
from igw_operator.plan.places import place_models

Rules = list[dict[str, Any]]
_COLLECTOR_FIELD: Final = "spec.observability.collector.endpoint"
_ISSUER_FIELD: Final = "spec.serving.auth.jwt.jwksUri"


def build_runtime_policy(inputs: PlanInput) -> Manifest | None:
    """The policy of the runtime's pods, or None where policies are off."""
    policy = inputs.gateway.spec.network_policy
    if not policy.enabled:
        return None
    served = [conventions.PORT_HTTP]
    served += [conventions.PORT_GRPC] if inputs.gateway.spec.serving.grpc else []
    ingress = [
        _build_rule("from", _build_callers(inputs), *served),
        _build_rule("from", _build_scrapers(inputs), conventions.PORT_METRICS),
    ]
    egress = [
        _build_dns_rule(),
        *_build_telemetry_rules(inputs.gateway),
        *_build_store_rules(inputs.gateway),
        *_build_issuer_rules(inputs.gateway),
    ]
    selector = build_selector(inputs.gateway, COMPONENT_RUNTIME)
    metadata = build_metadata(inputs.gateway, COMPONENT_RUNTIME)
    return _build_policy(metadata, selector, ingress, egress)


def build_collector_policy(inputs: PlanInput) -> Manifest | None:
    """The policy of the collector's pod that we answer for, or None where policies are off."""
    gateway = inputs.gateway
    if not gateway.spec.network_policy.enabled:
        return None
    selector = build_selector(gateway, COMPONENT_RUNTIME)
    senders = [{"podSelector": {"matchLabels": selector}}]
    ingress = [
        _build_rule("from", senders, conventions.PORT_OTLP_GRPC, conventions.PORT_OTLP_HTTP),
        _build_rule(
            "from",
            _build_scrapers(inputs),
            conventions.PORT_COLLECTOR_METRICS,
            conventions.PORT_SPAN_METRICS,
        ),
    ]
    egress = [_build_dns_rule()]
    endpoint = gateway.spec.observability.tracing.endpoint
    if endpoint:
        egress.append(_build_rule("to", (), parse_grpc_port(endpoint)))
    metadata = build_metadata(gateway, COMPONENT_COLLECTOR, "collector")
    return _build_policy(metadata, build_collector_selector(gateway), ingress, egress)


def _build_policy(
    metadata: dict[str, Any], selector: dict[str, str], ingress: Rules, egress: Rules
) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _build_telemetry_rules(gateway: Gateway) -> Rules:
    collector = gateway.spec.observability.collector
    if collector.mode.is_ours:
        peer = {"podSelector": {"matchLabels": build_collector_selector(gateway)}}
        return [_build_rule("to", [peer], conventions.PORT_OTLP_HTTP)]
    if collector.endpoint:
        # A name cannot be a peer, and its address may change: the port is all that is known.
        return [_build_rule("to", (), parse_http_port(collector.endpoint, _COLLECTOR_FIELD))]
    return []


def _build_store_rules(gateway: Gateway) -> Rules:
    ports = (find_store_port(place) for place in place_models(gateway.spec))
    return [_build_rule("to", (), it) for it in sorted({it for it in ports if it is not None})]


def _build_issuer_rules(gateway: Gateway) -> Rules:
    auth = gateway.spec.serving.auth
    if auth is None:
        return []
    return [_build_rule("to", (), parse_http_port(auth.jwt.jwks_uri, _ISSUER_FIELD))]


def _build_dns_rule() -> dict[str, Any]:
    # To anywhere: the resolver may be a pod, a node-local cache or the node itself.
    return {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def _build_rule(side: str, peers: Sequence[dict[str, Any]], *ports: int) -> dict[str, Any]:
    # No peers means everybody, and then the key has to be absent.
    rule: dict[str, Any] = {side: list(peers)} if peers else {}
    return rule | {"ports": [{"protocol": "TCP", "port": port} for port in ports]}


def _build_callers(inputs: PlanInput) -> list[dict[str, Any]]:
    """Who may call the serving port; nobody named means everybody."""
    spec = inputs.gateway.spec
    allowed = list(spec.network_policy.allow_from)
    if not allowed or spec.service.route is None:
        return allowed
    # Who asks for a route through a Gateway wants to be called by its proxy.
    for parent in spec.service.route.parent_refs:
        namespace = parent.namespace or inputs.gateway.namespace
        peer = {
            "namespaceSelector": {"matchLabels": {conventions.LABEL_NAMESPACE_NAME: namespace}},
            "podSelector": {"matchLabels": {conventions.LABEL_PROXY_OF: parent.name}},
        }
        allowed += [] if peer in allowed else [peer]
    if inputs.defaults.proxy_namespaces:
        allowed.append(_build_namespaces_peer(inputs.defaults.proxy_namespaces))
    return allowed


def _build_scrapers(inputs: PlanInput) -> list[dict[str, Any]]:
    namespaces = inputs.defaults.monitoring_namespaces
    return [_build_namespaces_peer(namespaces)] if namespaces else []


def _build_namespaces_peer(namespaces: Sequence[str]) -> dict[str, Any]:
    expression = {
        "key": conventions.LABEL_NAMESPACE_NAME,
        "operator": "In",
        "values": list(namespaces),
    }
    return {"namespaceSelector": {"matchExpressions": [expression]}}
