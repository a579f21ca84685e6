"""A cluster without optional APIs, which then gets them: a condition and an action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster import Cluster, wait_for
from integration.conftest import Place
from integration.operator_process import (
    OperatorProcess,
    install,
    install_gateway_api,
    install_opentelemetry,
    install_prometheus_crds,
)
from localnode.controlplane import ControlPlane

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own with an operator and no optional API."""
    with ControlPlane(tmp_path / "plane") as plane:
        cluster = Cluster(plane)
        install(cluster, prometheus_crds=None)
        operator = OperatorProcess(plane, tmp_path)
        operator.start()
        try:
            yield cluster
            assert operator.stop() == 0
            assert operator.errors() == []
        finally:
            operator.kill()
            cluster.close()


def test_the_prometheus_operator_may_come_and_go(bare: Cluster, prometheus_crds: Path) -> None:
    """Without it all else works; with it rules are made at once; without it again, no harm."""
    place = Place(bare, "demo")
    place.make()
    assert place.get("Deployment") is not None
    monitoring = place.condition("MonitoringReady")
    assert (monitoring["status"], monitoring["reason"]) == ("False", "PrometheusOperatorMissing")

    install_prometheus_crds(bare, prometheus_crds)
    wait_for(
        lambda: {"ServiceMonitor", "PrometheusRule"} <= {kind for kind, _ in place.children()},
        "monitoring to be made",
    )
    wait_for(
        lambda: place.condition("MonitoringReady")["reason"] != "PrometheusOperatorMissing",
        "the condition to follow",
    )

    for name in ("servicemonitors", "prometheusrules"):
        bare.request("DELETE", f"{_CRDS}/{name}.monitoring.coreos.com")
    wait_for(
        lambda: place.condition("MonitoringReady")["reason"] == "PrometheusOperatorMissing",
        "the condition to be back",
        timeout_seconds=40,
    )
    place.apply(serving={"maxBatch": 2})
    place.settle()


def test_gateway_api_may_come_go_and_come_back(bare: Cluster, gateway_api_crds: Path) -> None:
    """With a route that is asked for from the beginning; nothing else is touched by it."""
    place = Place(bare, "demo")
    place.make(service={"route": {"parentRefs": [{"name": "public"}]}})
    assert place.get("Deployment") is not None
    route = place.condition("RouteReady")
    assert (route["status"], route["reason"]) == ("False", "GatewayApiMissing")

    for _ in range(2):
        install_gateway_api(bare, gateway_api_crds)
        wait_for(
            lambda: ("HTTPRoute", "photos") in place.children(),
            "the route to be made",
            timeout_seconds=40,
        )
        wait_for(
            lambda: place.condition("RouteReady")["reason"] == "ParentNotFound",
            "the condition to follow",
        )
        for name in ("httproutes", "gateways"):
            bare.request("DELETE", f"{_CRDS}/{name}.gateway.networking.k8s.io")
        wait_for(
            lambda: place.condition("RouteReady")["reason"] == "GatewayApiMissing",
            "the condition to be back",
            timeout_seconds=40,
        )


def test_the_opentelemetry_operator_may_come_go_and_come_back(
    bare: Cluster, opentelemetry_crds: Path
) -> None:
    """Its CRD, that is; the runtime's pods are the same all the while."""
    place = Place(bare, "demo")
    place.make(observability={"collector": {"mode": "OpenTelemetryCollector"}})
    before = place.must_get("Deployment")["metadata"]["generation"]
    telemetry = place.condition("TelemetryReady")
    assert (telemetry["status"], telemetry["reason"]) == ("False", "OpenTelemetryOperatorMissing")
    assert "kubectl get crd opentelemetrycollectors.opentelemetry.io" in telemetry["message"]

    for _ in range(2):
        install_opentelemetry(bare, opentelemetry_crds)
        wait_for(
            lambda: ("OpenTelemetryCollector", "photos") in place.children(),
            "the collector to be made",
            timeout_seconds=40,
        )
        wait_for(
            lambda: place.condition("TelemetryReady")["reason"] == "Starting",
            "the condition to follow",
        )
        bare.request("DELETE", f"{_CRDS}/opentelemetrycollectors.opentelemetry.io")
        wait_for(
            lambda: place.condition("TelemetryReady")["reason"] == "OpenTelemetryOperatorMissing",
            "the condition to be back",
            timeout_seconds=40,
        )
    assert place.must_get("Deployment")["metadata"]["generation"] == before
