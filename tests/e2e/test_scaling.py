"""Autoscaling by the runtime's own metrics: Prometheus, the adapter, the HPA, more pods."""

from __future__ import annotations

import pytest

from harness.client import Client
from harness.gateway import Gateway
from harness.kubectl import Json
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]
PICTURE = ROOT / "tests" / "pictures" / "coffee.jpg"
# Far above what a pod uses: of the shares of resources none may have a say here.
SCALING = {
    "minReplicas": 1,
    "maxReplicas": 2,
    "cpuPercent": 0,
    "memoryPercent": 1000,
    "requestsPerSecond": 1,
}


def test_more_requests_a_second_make_more_replicas(gateway: Gateway, client: Client) -> None:
    """The HPA sees 0 while nobody asks, then more than its target, and doubles the replicas."""
    gateway.apply(scaling=SCALING)
    gateway.wait_ready()
    wait_for(
        "every metric to be read, and said so",
        lambda: gateway.condition("ScalingReady").get("reason") == "Autoscaling",
        timeout_seconds=180,
        every_seconds=2,
    )
    assert requests_per_second(gateway) == 0
    assert replicas(gateway) == 1

    with client.load(f"{gateway.url}/predict", PICTURE, per_second=4, most_seconds=150):
        wait_for(
            "two replicas",
            lambda: replicas(gateway) == 2,
            timeout_seconds=120,
            every_seconds=2,
        )
        shown = gateway.kubectl("get", "hpa", gateway.name, "-n", gateway.namespace)

    assert "/1" in shown.splitlines()[1], shown
    assert gateway.condition("ScalingReady")["status"] == "True"


def requests_per_second(gateway: Gateway) -> float | None:
    """What the HPA knows of the metric, for one replica; None: it cannot read it."""
    hpa = gateway.kubectl.get("hpa", gateway.name, gateway.namespace) or {}
    for metric in hpa["status"].get("currentMetrics") or ():
        pods: Json = metric.get("pods") or {}
        if pods.get("metric", {}).get("name") == "http_requests_per_second":
            return quantity(pods["current"]["averageValue"])
    return None


def replicas(gateway: Gateway) -> int:
    """What the Deployment is told to have."""
    deployment = gateway.kubectl.get("deployment", gateway.name, gateway.namespace) or {}
    return int(deployment["spec"]["replicas"])


def quantity(text: str) -> float:
    """``1750m`` is 1.75."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
