from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.plan.otel_collector import list_claims
from igw_operator.plan.prune import prune
from igw_operator.plan.runtime_config import hash_static
from plan_kit.children import EVERY_API, an_input, build, collector_config, container

KEY = ("OpenTelemetryCollector", "photos")
DELEGATED: dict[str, Any] = {"collector": {"mode": "OpenTelemetryCollector"}}


def delegated(**arguments: Any) -> dict[tuple[str, str], Manifest]:
    """Every child of a gateway whose collector the OpenTelemetry operator runs."""
    return build(observability=DELEGATED, **arguments)


def test_has_the_pipeline_of_the_managed_collector() -> None:
    """The same document, also where a part of it is empty."""
    text = collector_config(build())["data"]["collector.yaml"]
    assert prune(delegated()[KEY])["spec"]["config"] == yaml.safe_load(text)


def test_has_the_image_and_the_bounds_of_the_managed_collector() -> None:
    """A change of mode changes nothing for who sends spans."""
    managed = build()["Deployment", "photos-collector"]
    spec = delegated()[KEY]["spec"]
    for field in ("image", "imagePullPolicy", "env", "resources", "securityContext"):
        assert spec[field] == container(managed)[field]
    assert spec["deploymentUpdateStrategy"] == managed["spec"]["strategy"]
    assert spec["replicas"] == 1, "a trace is judged in one place"


def test_nothing_else_of_the_managed_collector_is_made() -> None:
    """What bears its name then belongs to the OpenTelemetry operator, but for these."""
    named = {kind for kind, name in delegated() if name == "photos-collector"}
    assert named == {"ServiceAccount", "NetworkPolicy", "ServiceMonitor"}


def test_what_it_loses_is_scraped_by_way_of_the_other_operators_service() -> None:
    """As it labels its Services and names their ports (0.148, internal/manifests/collector)."""
    monitor = delegated()["ServiceMonitor", "photos-collector"]["spec"]
    assert monitor["selector"] == {
        "matchLabels": {"inference.igw.dev/gateway": "photos"},
        "matchExpressions": [
            {
                "key": "operator.opentelemetry.io/collector-service-type",
                "operator": "In",
                "values": ["monitoring", "base"],
            }
        ],
    }
    assert [it["port"] for it in monitor["endpoints"]] == ["monitoring", "prometheus"]


def test_the_account_carries_the_pull_secrets() -> None:
    """An OpenTelemetryCollector has no field for them."""
    account = delegated(runtime={"imagePullSecrets": ["registry"]})[
        "ServiceAccount", "photos-collector"
    ]
    assert account["imagePullSecrets"] == [{"name": "registry"}]
    assert account["automountServiceAccountToken"] is False
    assert delegated()[KEY]["spec"]["serviceAccount"] == "photos-collector"


def test_the_runtime_is_told_the_same_in_both_modes() -> None:
    """So that no runtime pod restarts."""
    managed, other = an_input(), an_input(observability=DELEGATED)
    assert hash_static(managed.gateway) == hash_static(other.gateway)


def test_spans_may_pass_between_the_pods_as_they_are_labelled() -> None:
    """Our label is handed on to them; the component is the OpenTelemetry operator's word."""
    children = delegated()
    pods = {
        conventions.LABEL_GATEWAY: "photos",
        conventions.LABEL_COMPONENT: "opentelemetry-collector",
    }
    labels = children[KEY]["metadata"]["labels"]
    assert labels[conventions.LABEL_GATEWAY] == "photos"
    policy = children["NetworkPolicy", "photos-collector"]["spec"]
    assert policy["podSelector"] == {"matchLabels": pods}
    egress = children["NetworkPolicy", "photos"]["spec"]["egress"]
    assert {"podSelector": {"matchLabels": pods}} in [
        it for rule in egress for it in rule.get("to", [])
    ]


@pytest.mark.parametrize("has_crd", [True, False])
def test_is_made_only_where_the_cluster_knows_the_kind(has_crd: bool) -> None:
    """Without it there is no collector at all, and everything else is as before."""
    children = delegated(capabilities=replace(EVERY_API, otel_collectors=has_crd))
    assert (KEY in children) is has_crd
    assert ("Deployment", "photos") in children
    assert ("Deployment", "photos-collector") not in children


def test_claims_what_the_managed_collector_would_be_called() -> None:
    """Also where the gateway's name is cut."""
    name = "a" * 63
    managed, other = build(name=name), build(name=name, observability=DELEGATED)
    (claims,) = (list_claims(it) for (kind, _), it in other.items() if kind == KEY[0])
    assert claims <= set(managed)
    assert not claims & set(other)
    assert all(len(claim) <= conventions.NAME_LIMIT for _, claim in claims)


def test_nothing_else_claims_anything() -> None:
    """Only an OpenTelemetryCollector has children of its own under our names."""
    assert not any(list_claims(child) for child in build().values())
