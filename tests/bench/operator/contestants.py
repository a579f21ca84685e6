"""Who makes the children: a bare client, our operator, a naive one. Each has a stage of its own.

The bare client also sets two floors that no operator gets below: how soon others have started
the pods, and how long it takes to list everything.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from fleet.crowd import Crowd, for_each
from fleet.ledger import AuditLog, Entry
from fleet.stage import Stage
from igw_operator import conventions, kinds
from igw_operator.act.handover import first_replicas, with_replicas
from igw_operator.api.objects import Gateway, Runtime, parse_gateway, parse_runtime
from igw_operator.kinds import Resource
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.inputs import Capabilities, PlanInput
from integration.cluster import Manifest, RefusedError

NAIVE_USER: Final = "naive"
_ROOT: Final = Path(__file__).parents[3]
# As the operator lists: so many kinds at a time, in pages of so many.
_KINDS_AT_ONCE: Final = 2
_PAGE: Final = 250
_CHILDREN: Final = {it.plural for it in kinds.CHILDREN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """How many gateways came to be, and how fast."""

    seconds: float
    """From the first gateway's creation to the last child's."""
    children: int
    requests: int
    """Writes of the one who made them, of whatever kind."""


def inputs_of(gateway: Gateway) -> PlanInput:
    """What a gateway's children are built from, in a cluster with the Prometheus Operator."""
    capabilities = Capabilities(service_monitors=True, prometheus_rules=True)
    return PlanInput(gateway=gateway, runtime=_default_runtime(), capabilities=capabilities)


@cache
def _default_runtime() -> Runtime:
    manifest = yaml.safe_load((_ROOT / "manifests/base/default-runtime.yaml").read_text())
    return parse_runtime(manifest)


async def create_bare(stage: Stage, gateways: list[Manifest]) -> Creation:
    """Apply each gateway and its children, sixteen gateways at a time, one child after another."""
    count = 0
    async with Crowd(stage.plane) as crowd:

        async def make(gateway: Manifest) -> None:
            nonlocal count
            owner = parse_gateway(await crowd.apply(gateway))
            children = [stamp(child, owner) for child in build_children(inputs_of(owner))]
            for child in children:
                started = with_replicas(child, first_replicas(child, children))
                await crowd.apply(started, conventions.FIELD_MANAGER)
                count += 1

        began = time.time()
        await for_each(gateways, make)
        return Creation(seconds=time.time() - began, children=count, requests=count)


async def list_bare(stage: Stage) -> float:
    """Read all that the operator reads at its start, keep nothing, and return the seconds."""
    async with Crowd(stage.plane) as crowd:

        async def read(resource: Resource) -> None:
            query = {"limit": str(_PAGE), "labelSelector": resource.selector}
            while True:
                try:
                    page = await crowd.request("GET", resource.path(), **query)
                except RefusedError:
                    assert resource.optional, resource.plural
                    return
                if not (token := page["metadata"].get("continue")):
                    return
                query["continue"] = token

        began = time.time()
        await for_each(kinds.WATCHED, read, concurrency=_KINDS_AT_ONCE)
        return time.time() - began


async def create_by_operator(
    stage: Stage, audit: AuditLog, gateways: list[Manifest], children: int, patience: float
) -> Creation:
    """Apply the gateways, and wait until an operator has made so many children of them."""
    mark, began = audit.mark(), time.time()
    async with Crowd(stage.plane) as crowd:
        await for_each(gateways, crowd.apply)
    entries = await wait_for_children(audit, mark, children, patience)
    made = [it for it in entries if is_child(it)]
    last = max(it.time for it in made)
    return Creation(seconds=last - began, children=len(made), requests=len(entries))


async def wait_for_children(
    audit: AuditLog, mark: int, children: int, patience: float
) -> list[Entry]:
    """Until the log has so many writes of children; return all writes."""
    deadline = time.monotonic() + patience
    while True:
        entries = [it for it in audit.since(mark) if it.code < 300]
        if sum(1 for it in entries if is_child(it)) >= children:
            return entries
        assert time.monotonic() < deadline, f"not {children} children in {patience:.0f} s"
        await asyncio.sleep(0.5)


def is_child(entry: Entry) -> bool:
    """Whether a write is one of a child."""
    return entry.resource in _CHILDREN


class Naive:
    """The naive operator as a process."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.audit = AuditLog(stage.plane.audit_log, NAIVE_USER)
        self._config = stage.plane.kubeconfig(folder / "naive.kubeconfig", user=NAIVE_USER)
        self._log = folder / "naive.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        environment: dict[str, Any] = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT / "operator"),
            "HOME": "/nonexistent",
            "KUBECONFIG": str(self._config),
        }
        command = [sys.executable, str(Path(__file__).with_name("naive.py"))]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """End it, patiently at first."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def a_naive_operator(stage: Stage, folder: Path) -> Iterator[Naive]:
    """It runs within the block."""
    naive = Naive(stage, folder)
    naive.start()
    try:
        yield naive
    finally:
        naive.stop()
