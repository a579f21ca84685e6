"""Autoscaling by the runtime's own metrics: Prometheus, the adapter, the HPA, more pods."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.kubectl import Kubectl
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]
PICTURE = ROOT / "tests" / "pictures" / "coffee.jpg"
ADAPTER = "deployment/prometheus-adapter"
# Far above what a pod uses: of the shares of resources none may have a say here.
SCALING = {
    "minReplicas": 1,
    "maxReplicas": 2,
    "cpuPercent": 0,
    "memoryPercent": 1000,
    "requestsPerSecond": 1,
}
Shared = tuple[Gateway, Client]


@pytest.fixture(scope="module")
def scaled(kubectl: Kubectl) -> Iterator[Shared]:
    """A gateway whose HPA reads every metric, and a client beside it."""
    namespace = "e2e-scaling"
    kubectl("create", "namespace", namespace)
    gateway, client = Gateway(kubectl, namespace), Client(kubectl, namespace)
    gateway.apply(scaling=SCALING)
    client.start(RUNTIME_IMAGE)
    gateway.wait_ready()
    gateway.wait_scaling("Autoscaling", seconds=180)
    yield gateway, client
    kubectl("delete", "namespace", namespace, "--wait=false")


def test_an_idle_gateway_has_no_load(scaled: Shared) -> None:
    """Zero, which is a value: without one the HPA would never scale down."""
    gateway, _ = scaled
    assert load(gateway) == {"http_requests_per_second": 0, "inference_queue_size": 0}
    assert gateway.replicas() == 1


@pytest.mark.pain(6)
def test_an_adapter_that_is_gone_is_noticed(scaled: Shared, kubectl: Kubectl) -> None:
    """The HPA says that all is well, and would never scale down; ScalingReady says so."""
    gateway, _ = scaled
    kubectl("scale", "-n", "monitoring", ADAPTER, "--replicas=0")
    try:
        condition = gateway.wait_scaling("MetricsUnavailable", seconds=90)
        assert condition["status"] == "False"
        assert "http_requests_per_second" in condition["message"]
        assert gateway.replicas() == 1
    finally:
        kubectl("scale", "-n", "monitoring", ADAPTER, "--replicas=1")
    gateway.wait_scaling("Autoscaling", seconds=120)


def test_more_requests_a_second_make_more_replicas(scaled: Shared) -> None:
    """The HPA sees more than its target, and doubles the replicas."""
    gateway, client = scaled

    with client.load(f"{gateway.url}/predict", PICTURE, per_second=4, most_seconds=150):
        wait_for(
            "two replicas",
            lambda: gateway.replicas() == 2,
            timeout_seconds=120,
            every_seconds=2,
        )
        shown = gateway.kubectl("get", "hpa", gateway.name, "-n", gateway.namespace)

    assert "/1" in shown.splitlines()[1], shown


def load(gateway: Gateway) -> dict[str, float]:
    """What the HPA knows of the custom metrics, for one replica."""
    hpa = gateway.kubectl.get("hpa", gateway.name, gateway.namespace) or {}
    metrics = (it["pods"] for it in hpa["status"]["currentMetrics"] if it["type"] == "Pods")
    return {it["metric"]["name"]: quantity(it["current"]["averageValue"]) for it in metrics}


def quantity(text: str) -> float:
    """``1750m`` is 1.75."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
