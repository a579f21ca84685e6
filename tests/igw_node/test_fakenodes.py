"""Pods without a machine: bound, Ready and gone, as far as the API can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integration.cluster import Cluster, wait_for
from localnode.controlplane import ControlPlane
from localnode.fakenodes import start_fake_nodes
from node_parts import need_parts

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with fake nodes."""
    need_parts("etcd", "kubernetes", "kwok")
    with ControlPlane(tmp_path_factory.mktemp("fake")) as plane:
        start_fake_nodes(plane)
        cluster = Cluster(plane)
        yield cluster
        cluster.close()


def _deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "none.invalid/web:1"}]},
            },
        },
    }


def test_pods_become_ready_and_go(cluster: Cluster) -> None:
    """A Deployment comes up over all zones, with an address for each pod, and scales down."""
    cluster.apply(_deployment(6))

    def is_available() -> bool:
        status = cluster.must_get("Deployment", "default", "web").get("status", {})
        return bool(status.get("availableReplicas") == 6)

    wait_for(is_available, "six pods to be available", timeout_seconds=40)
    pods = cluster.list_all("Pod", "default")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"fake-0", "fake-1", "fake-2"}
    assert len({pod["status"]["podIP"] for pod in pods}) == 6

    cluster.apply(_deployment(0))
    wait_for(lambda: not cluster.list_all("Pod", "default"), "the pods to go", timeout_seconds=40)
