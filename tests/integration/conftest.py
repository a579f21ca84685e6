"""A real API server with its controllers, and the operator beside it, once for all tests.

Each test gets a namespace of its own. The operator runs as its ServiceAccount with the
shipped ClusterRole, so a verb that is missing there fails here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factories import gateway_manifest
from integration.cluster import Cluster, Manifest, Write, wait_for
from integration.operator_process import (
    OperatorProcess,
    install,
    install_gateway_api,
    install_opentelemetry,
)
from kstatus import SAYS, KStatus, kstatus, true_conditions
from localnode.controlplane import ControlPlane
from node_parts import need_parts, shared_folder

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an integration test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session", autouse=True)
def _parts() -> None:
    need_parts("etcd", "kubernetes")


@pytest.fixture(scope="session")
def prometheus_crds() -> Path:
    """The folder with the CRDs of the Prometheus Operator."""
    return shared_folder("prometheus-operator", "prometheus-operator-crds")


@pytest.fixture(scope="session")
def gateway_api_crds() -> Path:
    """The folder with the CRDs of Gateway API."""
    return shared_folder("gateway-api", "gateway-api-crds")


@pytest.fixture(scope="session")
def opentelemetry_crds() -> Path:
    """The folder with the CRDs of the OpenTelemetry operator."""
    return shared_folder("opentelemetry-operator", "opentelemetry-crds")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server of most tests."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def cluster(
    plane: ControlPlane, prometheus_crds: Path, gateway_api_crds: Path, opentelemetry_crds: Path
) -> Iterator[Cluster]:
    """The cluster with everything installed."""
    cluster = Cluster(plane)
    install_gateway_api(cluster, gateway_api_crds)
    install_opentelemetry(cluster, opentelemetry_crds)
    install(cluster, prometheus_crds=prometheus_crds)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def operator(
    plane: ControlPlane, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator; it must not have crashed anywhere, and must end in order."""
    del cluster  # installed first
    operator = OperatorProcess(plane, tmp_path_factory.mktemp("operator"))
    operator.start()
    yield operator
    assert operator.stop() == 0, operator.log.read_text()[-3000:]
    assert operator.errors() == []


class Place:
    """One namespace, and what a test does there."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        cluster.create(manifest)

    def apply(self, name: str = "photos", **spec: Any) -> Manifest:
        """Apply a gateway, as its owner does."""
        spec = {"model": {"name": "resnet50"}} | spec
        return self.cluster.apply(gateway_manifest(name, self.namespace, **spec))

    def settle(self, name: str = "photos") -> Manifest:
        """Wait until the operator has judged the latest spec and writes nothing more."""
        wait_for(lambda: self._is_judged(name), f"{name} to be judged")
        self.wait_settled()
        return self.gateway(name)

    def wait_settled(self) -> None:
        """Wait until the operator writes nothing more here."""
        self.cluster.wait_settled(self.namespace)

    @contextmanager
    def recording(self) -> Iterator[list[Write]]:
        """The operator's writes here within the block; filled when it ends."""
        with self.cluster.recording(self.namespace) as writes:
            yield writes

    def make(self, name: str = "photos", **spec: Any) -> Manifest:
        """Apply a gateway and wait until all is done."""
        self.apply(name, **spec)
        return self.settle(name)

    def gateway(self, name: str = "photos") -> Manifest:
        """The gateway now."""
        return self.cluster.must_get("InferenceGateway", self.namespace, name)

    def get(self, kind: str, name: str = "photos") -> Manifest | None:
        """A child now, or None."""
        return self.cluster.get(kind, self.namespace, name)

    def must_get(self, kind: str, name: str = "photos") -> Manifest:
        """A child now."""
        return self.cluster.must_get(kind, self.namespace, name)

    def condition(self, kind: str, name: str = "photos") -> Manifest:
        """A condition of the gateway now."""
        return self.cluster.condition(self.namespace, name, kind)

    def children(self) -> dict[tuple[str, str], Manifest]:
        """Every child now."""
        return self.cluster.children(self.namespace)

    def _is_judged(self, name: str) -> bool:
        gateway = self.gateway(name)
        observed = gateway.get("status", {}).get("observedGeneration")
        return bool(observed == gateway["metadata"]["generation"])


def _disagreements(place: Place) -> list[str]:
    """Where kstatus reads something else than a person, of gateways and of their children."""
    found = []
    for gateway in place.cluster.list_all("InferenceGateway", place.namespace):
        status, name = kstatus(gateway), gateway["metadata"]["name"]
        if status is KStatus.TERMINATING or gateway["status"]["observedGeneration"] < 0:
            continue
        if gateway["status"]["observedGeneration"] != gateway["metadata"]["generation"]:
            found.append(f"{name}: is not judged")
        elif true_conditions(gateway) != [SAYS[status]]:
            found.append(f"{name}: kstatus says {status}, it says {true_conditions(gateway)}")
        elif status is KStatus.CURRENT:
            # Of the collector and of monitoring it does not speak.
            children = {key: it for key, it in place.children().items() if key[1] == name}
            found += [
                f"{name}: is Ready, and kstatus waits for {kind}"
                for (kind, _), child in children.items()
                if kstatus(child) is not KStatus.CURRENT
            ]
    return found


@pytest.fixture
def place(cluster: Cluster, operator: OperatorProcess) -> Iterator[Place]:
    """A fresh namespace with the operator at work; whatever a test made of it, kstatus agrees."""
    del operator  # it runs
    place = Place(cluster, f"test-{next(_numbers)}")
    yield place
    wait_for(lambda: not _disagreements(place), f"agreement: {_disagreements(place)}")
