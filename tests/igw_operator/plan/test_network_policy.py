from __future__ import annotations

from typing import Any

import pytest

from igw_operator.errors import SpecError
from igw_operator.plan.inputs import Defaults
from plan_kit.children import build

KEY = ("NetworkPolicy", "photos")
COLLECTOR = ("NetworkPolicy", "photos-collector")


def rule(rules: list[dict[str, Any]], port: int) -> dict[str, Any]:
    """The only rule for a port."""
    (found,) = (each for each in rules if any(p["port"] == port for p in each["ports"]))
    return found


def test_admits_everybody_by_default() -> None:
    """Without peers the rule has no `from` at all: an empty one would be pruned anyway."""
    ingress = build()[KEY]["spec"]["ingress"]
    assert "from" not in rule(ingress, 8080)
    assert "from" not in rule(ingress, 9090)


def test_admits_only_whom_the_user_names() -> None:
    """The user's peers pass through untouched, also an empty selector."""
    peers = [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]
    ingress = build(networkPolicy={"allowFrom": peers})[KEY]["spec"]["ingress"]
    assert rule(ingress, 8080)["from"] == peers
    assert "from" not in rule(ingress, 9090)


def test_admits_callers_to_grpc_where_it_is_served() -> None:
    """The same callers as by HTTP, and nobody where it is not served."""
    peers: list[dict[str, Any]] = [{"namespaceSelector": {}}]
    spec: dict[str, Any] = {"networkPolicy": {"allowFrom": peers}}
    both = rule(build(**spec, serving={"grpc": True})[KEY]["spec"]["ingress"], 9000)
    assert both["from"] == peers
    assert [it["port"] for it in both["ports"]] == [8080, 9000]
    ports = [it["port"] for it in rule(build(**spec)[KEY]["spec"]["ingress"], 8080)["ports"]]
    assert ports == [8080]


def test_a_route_admits_the_proxies_of_its_gateways_beside_whom_the_user_names() -> None:
    """Beside their Gateway, or where the platform says that its proxies run."""
    mine = {"podSelector": {"matchLabels": {"app": "web"}}}
    children = build(
        networkPolicy={"allowFrom": [mine]},
        service={
            "route": {
                "parentRefs": [
                    {"name": "public", "namespace": "infra", "sectionName": "a"},
                    {"name": "public", "namespace": "infra", "sectionName": "b"},
                ]
            }
        },
        defaults=Defaults(proxy_namespaces=("envoy-gateway-system",)),
    )
    first, beside, elsewhere = rule(children[KEY]["spec"]["ingress"], 8080)["from"]
    assert first == mine
    assert beside == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "infra"}},
        "podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "public"}},
    }
    (expression,) = elsewhere["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["envoy-gateway-system"]


def test_a_route_closes_nothing_that_was_open() -> None:
    """Who names nobody admits everybody, the proxies among them."""
    children = build(service={"route": {"parentRefs": [{"name": "public"}]}})
    assert "from" not in rule(children[KEY]["spec"]["ingress"], 8080)


@pytest.mark.parametrize(("key", "port"), [(KEY, 9090), (COLLECTOR, 8888), (COLLECTOR, 8889)])
def test_admits_only_monitoring_to_metrics(key: tuple[str, str], port: int) -> None:
    """Where the platform names its monitoring namespaces, nobody else reads metrics."""
    children = build(defaults=Defaults(monitoring_namespaces=("monitoring",)))
    (peer,) = rule(children[key]["spec"]["ingress"], port)["from"]
    assert peer["namespaceSelector"]["matchExpressions"][0]["values"] == ["monitoring"]


def test_lets_spans_reach_the_managed_collector_and_only_it() -> None:
    """Runtime to collector is open on both sides, and nothing else is."""
    children = build()
    runtime = children["Deployment", "photos"]["spec"]["selector"]
    collector = children["Deployment", "photos-collector"]["spec"]["selector"]
    egress = children[KEY]["spec"]["egress"]
    assert rule(egress, 4318)["to"] == [{"podSelector": collector}]
    assert len(egress) == 2
    ingress = children[COLLECTOR]["spec"]["ingress"]
    assert rule(ingress, 4318)["from"] == [{"podSelector": runtime}]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("http://otel", 80), ("https://otel/x", 443), ("http://otel:4318", 4318)],
)
def test_lets_spans_reach_an_external_collector(endpoint: str, port: int) -> None:
    """All that is known of an external address is its port."""
    external = {"collector": {"mode": "External", "endpoint": endpoint}}
    children = build(observability=external)
    assert "to" not in rule(children[KEY]["spec"]["egress"], port)
    assert COLLECTOR not in children


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("tempo:9095", 9095), ("tempo", 4317), ("https://tempo:443", 443)],
)
def test_lets_the_collector_reach_the_backend(endpoint: str, port: int) -> None:
    """The collector's only way out, besides DNS, is to the trace backend's port."""
    egress = build(observability={"tracing": {"endpoint": endpoint}})[COLLECTOR]["spec"]["egress"]
    assert "to" not in rule(egress, port)
    assert len(egress) == 2


def test_lets_nothing_but_names_out_when_there_are_no_spans() -> None:
    """Without spans, DNS is all that is left."""
    (dns,) = build(observability={"collector": {"mode": "Disabled"}})[KEY]["spec"]["egress"]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}


@pytest.mark.parametrize(
    ("observability", "path"),
    [
        ({"tracing": {"endpoint": "tempo:http"}}, "spec.observability.tracing.endpoint"),
        (
            {"collector": {"mode": "External", "endpoint": "http://o:99999"}},
            "spec.observability.collector.endpoint",
        ),
    ],
)
def test_names_the_field_of_an_impossible_port(observability: dict[str, Any], path: str) -> None:
    """An address without a valid port is refused by its field."""
    with pytest.raises(SpecError) as caught:
        build(observability=observability)
    assert [error.path for error in caught.value.errors] == [path]


def test_is_absent_when_switched_off() -> None:
    """Whoever has policies of their own gets none of ours."""
    kinds = {kind for kind, _ in build(networkPolicy={"enabled": False})}
    assert "NetworkPolicy" not in kinds


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("https://issuer.example/keys", 443),
        ("http://issuer.auth.svc:8180/keys", 8180),
    ],
)
def test_lets_pods_fetch_the_keys_of_tokens(uri: str, port: int) -> None:
    """To anywhere: a name cannot be a peer."""
    jwt = {"issuer": "i", "audiences": ["a"], "jwksUri": uri}
    egress = build(serving={"auth": {"jwt": jwt}})[KEY]["spec"]["egress"]
    assert rule(egress, port) == {"ports": [{"protocol": "TCP", "port": port}]}
    assert len(egress) == len(build()[KEY]["spec"]["egress"]) + 1


def test_names_the_field_of_a_port_that_is_none() -> None:
    """The pattern cannot count to 65535."""
    jwt = {"issuer": "i", "audiences": ["a"], "jwksUri": "https://issuer.example:99999/keys"}
    with pytest.raises(SpecError, match=r"spec\.serving\.auth\.jwt\.jwksUri"):
        build(serving={"auth": {"jwt": jwt}})
