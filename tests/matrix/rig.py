"""One control plane, one fault proxy, one operator: what every case of the matrix stands on.

The operator runs as its ServiceAccount with the shipped ClusterRole, and sees the API server
only through the proxy. Tests talk to the API server directly.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from integration.cluster import Cluster, Manifest, RefusedError, wait_for
from integration.conftest import Place
from integration.operator_process import install, install_gateway_api, install_opentelemetry
from localnode.controlplane import ControlPlane
from localnode.toolchain import tool_folder
from localnode.versions import load_versions
from matrix.oracles import Ledger, State, end_state, ledger
from matrix.process import SupervisedOperator
from matrix.proxy import FaultProxy

# How long anything may take on a machine that is shared.
WAIT_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A run without faults."""

    state: State
    writes: Ledger


class PatientCluster(Cluster):
    """Takes an answer that is no JSON for what it is: the word about an API that is not there."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        **query: Any,
    ) -> Manifest:
        """Send one request; raise `RefusedError` for any failure."""
        try:
            return super().request(method, path, body, content, **query)
        except json.JSONDecodeError as error:
            raise RefusedError(404, path) from error


class Rig:
    """The stage of many cases."""

    def __init__(
        self, plane: ControlPlane, cluster: Cluster, proxy: FaultProxy, folder: Path
    ) -> None:
        self.plane = plane
        self.cluster = cluster
        self.proxy = proxy
        self.folder = folder
        self.operator = SupervisedOperator(plane, proxy, folder)
        self._numbers = itertools.count(1)
        self._kept: dict[str, Place] = {}
        self.references: dict[str, Reference] = {}

    def place(self) -> Place:
        """A fresh namespace; all names are equally long, so that masked states compare."""
        return Place(self.cluster, f"matrix-{next(self._numbers):04}")

    def kept_place(self, name: str) -> Place:
        """One namespace for all cases that ask for it by this name."""
        if name not in self._kept:
            self._kept[name] = self.place()
        return self._kept[name]

    def settled(self, place: Place, name: str = "photos") -> None:
        """Wait, patiently, until the latest spec is judged and nothing is written any more."""
        wait_for(lambda: self.is_judged(place, name), f"{name} to be judged", WAIT_SECONDS)
        place.cluster.wait_settled(place.namespace, quiet_seconds=2, timeout_seconds=WAIT_SECONDS)

    def make(self, place: Place, name: str = "photos", **spec: Any) -> None:
        """Apply a gateway and wait until all is done."""
        place.apply(name, **spec)
        self.settled(place, name)

    def is_judged(self, place: Place, name: str = "photos") -> bool:
        """Whether the latest spec has a status."""
        gateway = place.gateway(name)
        observed = gateway.get("status", {}).get("observedGeneration")
        return bool(observed == gateway["metadata"]["generation"])

    @cached_property
    def reference(self) -> Reference:
        """How one gateway comes to be, when nothing goes wrong."""
        place = self.place()
        with place.recording() as writes:
            self.make(place)
        return Reference(state=end_state(place), writes=ledger(writes))


@contextmanager
def a_rig(
    folder: Path,
    *,
    controllers: bool,
    monitoring: bool = True,
    everything: bool = False,
    flags: Sequence[str] = (),
) -> Iterator[Rig]:
    """Start everything; end everything.

    ``monitoring``: with the Prometheus Operator's kinds; ``everything``: with those of Gateway
    API, KEDA and the OpenTelemetry operator too. ``flags`` are further ones of the API server.
    """
    with ExitStack() as stack:
        plane = stack.enter_context(
            ControlPlane(
                folder / "plane", with_controller_manager=controllers, api_server_flags=flags
            )
        )
        cluster = PatientCluster(plane)
        stack.callback(cluster.close)
        if everything:
            install_gateway_api(cluster, shared_folder("gateway-api") / "gateway-api-crds")
            scaled = shared_folder("keda") / "keda-crds" / "keda.sh_scaledobjects.yaml"
            cluster.apply(yaml.safe_load(scaled.read_text()))
            collectors = shared_folder("opentelemetry-operator") / "opentelemetry-crds"
            install_opentelemetry(cluster, collectors)
        install(cluster, prometheus_crds=crds_folder() if monitoring else None)
        proxy = stack.enter_context(FaultProxy(plane, folder / "proxy"))
        rig = Rig(plane, cluster, proxy, folder)
        stack.callback(rig.operator.close)
        rig.operator.start()
        yield rig


def crds_folder() -> Path:
    """Where the CRDs of the Prometheus Operator are."""
    return shared_folder("prometheus-operator") / "prometheus-operator-crds"


def shared_folder(tool: str) -> Path:
    """Files that came with a part of the node, besides its programs."""
    return tool_folder(load_versions().tools[tool]) / "share"
