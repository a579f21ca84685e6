"""A control plane with everything installed and an operator beside it, for a whole fleet.

Used by the scale tests and by the operator's benchmark.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from factories import gateway_manifest
from fleet.ledger import AuditLog
from integration.cluster import Cluster, Manifest
from integration.operator_process import OperatorProcess, install
from localnode.controlplane import ControlPlane
from localnode.fakenodes import start_fake_nodes
from localnode.toolchain import tool_folder
from localnode.versions import load_versions

PER_NAMESPACE: Final = 100
_QUIET_SECONDS: Final = 3.0
LEAN: Final[Manifest] = {
    "replicas": 1,
    "observability": {"tracing": {"enabled": False}},
}
"""A gateway that asks for as little as possible: one pod, no collector."""


class Stage:
    """One cluster and its operator."""

    def __init__(self, plane: ControlPlane, cluster: Cluster, folder: Path) -> None:
        self.plane = plane
        self.cluster = cluster
        self.operator = OperatorProcess(plane, folder)
        self.audit = AuditLog(plane.audit_log)

    def make_namespaces(self, count: int, prefix: str = "fleet") -> list[str]:
        """Namespaces for so many gateways."""
        number = -(-count // PER_NAMESPACE)
        names = [f"{prefix}-{it:03}" for it in range(number)]
        for name in names:
            self.cluster.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
        return names

    def gateways(self, count: int, prefix: str = "fleet", **spec: Any) -> list[Manifest]:
        """So many gateways, spread over namespaces of their own, which exist by then."""
        namespaces = self.make_namespaces(count, prefix)
        return [
            gateway_manifest(f"photos-{it:05}", namespaces[it // PER_NAMESPACE], **spec)
            for it in range(count)
        ]

    def is_idle(self) -> bool:
        """Whether the operator has nothing to do right now."""
        return self.operator.metric("igw_operator_queue_depth") == 0

    async def wait_converged(self, count: int, timeout_seconds: float) -> float:
        """Until so many reconciles are done and no key waits; return when that was.

        Only just after a start: the number of reconciles is the process's.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            await asyncio.sleep(0.2)
            try:
                if self.reconciles() >= count and self.is_idle():
                    return time.time()
            except httpx.TransportError:
                pass  # it does not serve its metrics yet
            assert time.monotonic() < deadline, f"not converged within {timeout_seconds:.0f} s"

    async def wait_quiet(self, timeout_seconds: float, seconds: float = _QUIET_SECONDS) -> float:
        """Until the operator has written nothing for a while; return when its last write was."""
        deadline = time.monotonic() + timeout_seconds
        mark, last, since = self.audit.mark(), time.time(), time.monotonic()
        while time.monotonic() - since < seconds:
            assert time.monotonic() < deadline, "the operator does not stop writing"
            await asyncio.sleep(0.2)
            now = self.audit.mark()
            times = [entry.time for entry in self.audit.since(mark)]
            mark = now
            if times or not self.is_idle():
                last, since = max([last, *times]), time.monotonic()
        return last

    def reconciles(self) -> float:
        """How many passes over gateways and runtimes have ended in this process."""
        return sum(self.operator.metrics("igw_operator_reconciles_total").values())


@contextmanager
def a_stage(
    folder: Path,
    *,
    controllers: bool,
    nodes: bool = False,
    users: Mapping[str, tuple[str, ...]] | None = None,
) -> Iterator[Stage]:
    """Start everything but the operator; end everything."""
    with ExitStack() as stack:
        plane = stack.enter_context(
            ControlPlane(folder / "plane", with_controller_manager=controllers, users=users)
        )
        if nodes:
            start_fake_nodes(plane)
        cluster = Cluster(plane)
        stack.callback(cluster.close)
        tool = load_versions().tools["prometheus-operator"]
        install(cluster, prometheus_crds=tool_folder(tool) / "share" / "prometheus-operator-crds")
        stage = Stage(plane, cluster, folder)
        stack.callback(stage.operator.kill)
        yield stage
