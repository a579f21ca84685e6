from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from igw_operator.plan.http_route import render_duration
from igw_operator.plan.inputs import Capabilities
from plan_kit.children import build

KEY = ("HTTPRoute", "photos")
PUBLIC = {"name": "public", "namespace": "infra"}


def route(**fields: Any) -> dict[str, Any]:
    """A spec with a route."""
    return {"service": {"route": {"parentRefs": [PUBLIC]} | fields}}


def outside_paths(spec: dict[str, Any]) -> dict[str, str]:
    """Every path that is led in, with what the Service is asked for."""
    found = {}
    for rule in build(**spec)[KEY]["spec"]["rules"]:
        for match in rule["matches"]:
            path = match["path"]["value"]
            (rewrite,) = rule.get("filters") or [
                {"urlRewrite": {"path": {"replaceFullPath": path}}}
            ]
            target = rewrite["urlRewrite"]["path"]
            found[path] = target.get("replaceFullPath") or target["replacePrefixMatch"]
    return found


def test_none_is_made_unless_asked_for() -> None:
    """A Service of the cluster alone is the default."""
    assert KEY not in build()


def test_none_is_made_where_the_cluster_does_not_know_the_kind() -> None:
    """Everything else is."""
    children = build(capabilities=Capabilities(), **route())
    assert KEY not in children
    assert ("Deployment", "photos") in children


def test_leads_in_what_answers_predictions_and_nothing_else() -> None:
    """Metrics and probes stay inside."""
    assert outside_paths(route()) == {"/predict": "/predict", "/v1": "/v1", "/v2": "/v2"}


def test_a_prefix_is_cut_off_on_the_way_in() -> None:
    """The runtime answers to its own paths only."""
    assert outside_paths(route(pathPrefix="/photos")) == {
        "/photos/predict": "/predict",
        "/photos/v1": "/v1",
        "/photos/v2": "/v2",
    }


def test_a_rewrite_stands_alone_with_the_one_match_that_it_needs() -> None:
    """Gateway API refuses a prefix's replacement beside more than one match."""
    rules = build(**route(pathPrefix="/photos"))[KEY]["spec"]["rules"]
    assert [len(rule["matches"]) for rule in rules] == [1, 1, 1]


def test_the_proxy_waits_a_little_longer_than_the_runtime() -> None:
    """Else it would cancel requests that the runtime was about to count as its own failures."""
    (rule,) = build(serving={"timeout": "1m30s"}, **route())[KEY]["spec"]["rules"]
    assert rule["timeouts"] == {"request": "91s", "backendRequest": "91s"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [("3601", "3601s"), ("1.1", "1s100ms"), ("0.0001", "1ms"), ("2.9999", "3s")],
)
def test_durations_are_whole_numbers(seconds: str, text: str) -> None:
    """Gateway API knows no fractions; nothing is cut off."""
    assert render_duration(Decimal(seconds)) == text


@pytest.mark.parametrize(
    "serving", [{}, {"tls": {"secretName": "photos-tls"}}], ids=["http", "https"]
)
def test_leads_to_the_port_of_the_service(serving: dict[str, Any]) -> None:
    """The Service that is made beside it."""
    children = build(**route(), serving=serving)
    (rule,) = children[KEY]["spec"]["rules"]
    (port,) = children["Service", "photos"]["spec"]["ports"]
    assert rule["backendRefs"] == [{"name": "photos", "port": port["port"]}]
