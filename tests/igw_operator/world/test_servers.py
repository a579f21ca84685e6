"""Where each Prometheus is asked."""

from __future__ import annotations

from typing import Any

import pytest

from igw_operator.api.objects import ObjectKey
from igw_operator.world.servers import Server, find_servers

MONITOR = ObjectKey("igw-system", "igw-operator")


def a_prometheus(name: str = "main", namespace: str = "monitoring", **spec: Any) -> dict[str, Any]:
    """A Prometheus object."""
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ({}, "http://prometheus-operated.monitoring.svc:9090"),
        ({"portName": "http"}, "http://prometheus-operated.monitoring.svc:9090"),
        ({"routePrefix": "/prom/"}, "http://prometheus-operated.monitoring.svc:9090/prom"),
        ({"serviceName": "own"}, "http://own.monitoring.svc:9090"),
        ({"web": {"tlsConfig": {}}}, "http://prometheus-operated.monitoring.svc:9090"),
        (
            {"web": {"tlsConfig": {"cert": {}}}},
            "https://prometheus-operated.monitoring.svc:9090",
        ),
    ],
)
def test_the_address_follows_from_the_object(spec: dict[str, Any], url: str) -> None:
    """Its governing Service, whose port has one number whatever its name."""
    assert [it.url for it in find_servers([a_prometheus(**spec)])] == [url]


def test_two_in_one_namespace_are_told_apart() -> None:
    """They share the governing Service, which would answer for either."""
    found = find_servers([a_prometheus("b"), a_prometheus("a"), a_prometheus("c", "other")])

    assert {it.name: it.url for it in found} == {
        "Prometheus monitoring/a": (
            "http://prometheus-a-0.prometheus-operated.monitoring.svc:9090"
        ),
        "Prometheus monitoring/b": (
            "http://prometheus-b-0.prometheus-operated.monitoring.svc:9090"
        ),
        "Prometheus other/c": "http://prometheus-operated.other.svc:9090",
    }


@pytest.mark.parametrize(
    ("spec", "says"),
    [({"listenLocal": True}, "spec.listenLocal is true"), ({"shards": 3}, "3 shards")],
)
def test_who_cannot_be_asked_says_why(spec: dict[str, Any], says: str) -> None:
    """And what to do about it."""
    (server,) = find_servers([a_prometheus(**spec)])

    assert server.url == ""
    assert says in server.problem
    assert "IGW_PROMETHEUS_URL" in server.problem


def test_an_address_that_was_told_goes_before_all_objects() -> None:
    """And its password is nobody's business."""
    (server,) = find_servers([a_prometheus()], "https://me:secret@prom.example.com/thanos/?x=1")

    assert server.url == "https://me:secret@prom.example.com/thanos/?x=1"
    assert server.name == "Prometheus https://prom.example.com/thanos/"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "24h"),
        ({"retention": "15d"}, "15d"),
        ({"retention": "1w3d"}, "1w3d"),
        ({"retention": "30d"}, ""),
        ({"retention": "1y"}, ""),
        ({"retentionSize": "10GiB"}, ""),
        ({"retention": "1d", "thanos": {"version": "v1"}}, ""),
        ({"retention": "1d", "remoteRead": [{"url": "http://x"}]}, ""),
    ],
    ids=str,
)
def test_a_short_memory_is_said(spec: dict[str, Any], said: str) -> None:
    """The default is a day; elsewhere there may be more of it."""
    (server,) = find_servers([a_prometheus(**spec)])

    assert server.keeps_less_than(30) == said
    assert Server(name="of an address").keeps_less_than(30) == ""


@pytest.mark.parametrize(
    ("excluded", "overwrites"),
    [
        ([], True),
        ([{"resource": "servicemonitors", "namespace": "igw-system", "name": "other"}], True),
        ([{"resource": "podmonitors", "namespace": "igw-system"}], True),
        ([{"resource": "servicemonitors", "namespace": "igw-system"}], False),
        (
            [{"resource": "servicemonitors", "namespace": "igw-system", "name": "igw-operator"}],
            False,
        ),
    ],
)
def test_an_enforced_label_is_seen(excluded: list[dict[str, str]], overwrites: bool) -> None:
    """Unless the operator's own ServiceMonitor is excluded from it."""
    prometheus = a_prometheus(enforcedNamespaceLabel="namespace", excludedFromEnforcement=excluded)
    (server,) = find_servers([prometheus])

    assert server.overwrites_labels_of(MONITOR) is overwrites
    (free,) = find_servers([a_prometheus(excludedFromEnforcement=excluded)])
    assert not free.overwrites_labels_of(MONITOR)
