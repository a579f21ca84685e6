"""Autoscaling by KEDA: it asks Prometheus itself, and hands over what it chose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.install import install_keda, remove_keda
from harness.kubectl import Kubectl
from harness.provider import choose
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PICTURE = ROOT / "tests" / "pictures" / "coffee.jpg"
SCALING = {
    "engine": "KEDA",
    "minReplicas": 1,
    "maxReplicas": 2,
    "cpuPercent": 0,
    "memoryPercent": 1000,
    "requestsPerSecond": 1,
}


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace on a cluster with KEDA, which both go afterwards."""
    provider, name = choose(), "e2e-keda"
    install_keda(kubectl, provider)
    kubectl("create", "namespace", name)
    yield name
    # In this order: only KEDA takes the finalizer of its objects away.
    kubectl("delete", "igw", "--all", "-n", name)
    wait_for(
        "KEDA to let go",
        lambda: not kubectl("get", "scaledobjects", "-n", name, "-o", "name"),
        timeout_seconds=60,
    )
    kubectl("delete", "namespace", name, "--wait=false")
    remove_keda(kubectl, provider)


def test_keda_scales_by_requests_and_hands_over(kubectl: Kubectl, namespace: str) -> None:
    """Real triggers against the real Prometheus: 1 replica, load, 2 replicas, and then an HPA."""
    gateway, client = Gateway(kubectl, namespace), Client(kubectl, namespace)
    gateway.apply(scaling=SCALING)
    client.start(RUNTIME_IMAGE)
    gateway.wait_ready()
    condition = gateway.wait_scaling("Autoscaling", seconds=180)
    assert "keda-hpa-photos gets its metrics" in condition["message"]
    assert autoscalers(gateway) == ["keda-hpa-photos"]
    assert gateway.replicas() == 1

    with client.load(f"{gateway.url}/predict", PICTURE, per_second=4, most_seconds=150):
        wait_for(
            "two replicas",
            lambda: gateway.replicas() == 2,
            timeout_seconds=120,
            every_seconds=2,
        )

    gateway.patch({"scaling": {"engine": "HPA"}})
    wait_for(
        "the HPA in KEDA's place",
        lambda: autoscalers(gateway) == ["photos"],
        timeout_seconds=60,
    )
    assert gateway.replicas() == 2
    gateway.wait_scaling("Autoscaling", seconds=120)
    assert gateway.replicas() == 2


def autoscalers(gateway: Gateway) -> list[str]:
    """Names of the HPAs in the namespace."""
    found = gateway.kubectl.items("hpa", gateway.namespace)
    return sorted(hpa["metadata"]["name"] for hpa in found)
