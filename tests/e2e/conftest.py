"""One cluster with the whole platform on it, for every end-to-end test.

pytest-kind makes the cluster, with kind or with the local node's kind-compatible command;
what is installed is what ``manifests/`` ships.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.install import (
    install_adapter,
    install_monitoring,
    install_operator,
    wait_for_adapter,
    wait_for_monitoring,
    wait_for_operator,
)
from harness.kubectl import Kubectl
from harness.provider import IMAGES, choose

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kubectl(kind_cluster: Any) -> Kubectl:
    """The cluster with monitoring and the operator installed."""
    provider = choose()
    for image in IMAGES:
        kind_cluster.load_docker_image(image)
    kubectl = Kubectl(str(kind_cluster.kubectl_path), kind_cluster.kubeconfig_path.absolute())
    install_monitoring(kubectl, provider)
    install_adapter(kubectl)
    install_operator(kubectl)
    wait_for_operator(kubectl)
    wait_for_monitoring(kubectl)
    wait_for_adapter(kubectl)
    return kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own, under the restricted Pod Security Standard."""
    name = f"e2e-{next(_numbers)}"
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
    )
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def client(kubectl: Kubectl, namespace: str) -> Client:
    """A client pod in the test's namespace."""
    client = Client(kubectl, namespace)
    client.start(RUNTIME_IMAGE)
    return client


@pytest.fixture
def gateway(kubectl: Kubectl, namespace: str) -> Gateway:
    """A gateway named photos in the test's namespace, not applied yet."""
    return Gateway(kubectl, namespace)


@pytest.fixture(scope="module")
def ready_gateway(kubectl: Kubectl) -> Iterator[tuple[Gateway, Client]]:
    """A Ready gateway and a client beside it, shared by the tests of a module."""
    namespace = f"e2e-shared-{next(_numbers)}"
    kubectl("create", "namespace", namespace)
    gateway = Gateway(kubectl, namespace)
    gateway.apply(observability={"tracing": {"samplingPercent": 100}}, serving={"grpc": True})
    client = Client(kubectl, namespace)
    client.start(RUNTIME_IMAGE)
    gateway.wait_ready()
    yield gateway, client
    kubectl("delete", "namespace", namespace, "--wait=false")
