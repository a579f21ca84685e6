"""Thousands of gateways on one operator, with pods that kwok makes Ready.

1,000 by default, which `make test` runs too; `IGW_SCALE_GATEWAYS=5000` asks for more. The
cases build on each other: one fleet, made by the first. No time is judged, only what is
written, what is left, and what it costs in memory.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from factories import gateway_manifest
from fleet.crowd import Crowd, for_each, is_ready
from fleet.ledger import Entry
from fleet.stage import LEAN, PER_NAMESPACE, Stage, a_stage
from fleet.vitals import resident_mib
from igw_operator import kinds
from integration.cluster import Manifest, path_of, wait_for

COUNT: Final = int(os.environ.get("IGW_SCALE_GATEWAYS", "1000"))
# A machine that is shared by ten is ten times slower; a hang is still a failure.
PATIENCE_SECONDS: Final = 120 + COUNT
_CHILDREN: Final = {it.plural for it in kinds.CHILDREN}
_STATUS: Final = "inferencegateways/status"

pytestmark = [
    pytest.mark.scale,
    pytest.mark.timeout(2 * PATIENCE_SECONDS),
    pytest.mark.xdist_group("scale"),
]


@dataclass(slots=True, kw_only=True)
class Fleet:
    """All gateways of these cases."""

    stage: Stage
    gateways: list[Manifest]
    memory_mib: float = 0.0

    @property
    def namespaces(self) -> list[str]:
        """Where they are."""
        return sorted({it["metadata"]["namespace"] for it in self.gateways})

    def writes(self, mark: int, *namespaces: str) -> list[Entry]:
        """What the operator wrote since then, with success, perhaps only there."""
        return [
            it
            for it in self.stage.audit.since(mark)
            if it.code < 300 and (not namespaces or it.namespace in namespaces)
        ]

    async def wait_judged(self, crowd: Crowd, *namespaces: str, ready: bool = True) -> None:
        """Until every gateway (there) is judged in its present generation, and Ready."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [
                it
                for namespace in namespaces or self.namespaces
                for it in await crowd.list_all(kinds.GATEWAY, namespace)
            ]
            left = [it for it in found if not (is_ready(it) if ready else _is_judged(it))]
            if found and not left:
                return
            assert time.monotonic() < deadline, f"{len(left)} of {len(found)} are left"
            await asyncio.sleep(1)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An operator at work, and nothing for it to do yet."""
    with a_stage(tmp_path_factory.mktemp("scale"), controllers=True, nodes=True) as stage:
        stage.operator.start()
        yield Fleet(stage=stage, gateways=stage.gateways(COUNT, **LEAN))
        assert stage.operator.stop() == 0, stage.operator.log.read_text()[-3000:]
        assert stage.operator.errors() == [], "O5"


@pytest.mark.case(29, "O1 O3 O4 O5")
async def test_a_cold_start(fleet: Fleet) -> None:
    """Everything is made at once: each child is written once, and every gateway gets Ready."""
    stage, mark = fleet.stage, fleet.stage.audit.mark()
    async with Crowd(stage.plane) as crowd:
        await for_each(fleet.gateways, crowd.apply)
        await fleet.wait_judged(crowd)
    await stage.wait_quiet(PATIENCE_SECONDS)
    writes = fleet.writes(mark)
    assert _repeated(writes) == {}, "O3: written more than once"
    reports = sum(1 for it in writes if it.resource == _STATUS)
    assert reports <= 6 * COUNT, "O3: too many reports"
    fleet.memory_mib = resident_mib(stage.operator.pid)
    assert fleet.memory_mib <= 150 + 0.05 * COUNT


@pytest.mark.case(29, "O2 O5")
async def test_a_restart(fleet: Fleet) -> None:
    """Everything is looked at, and nothing is written."""
    stage, mark = fleet.stage, fleet.stage.audit.mark()
    assert stage.operator.stop() == 0
    stage.operator.start(wait=False)
    await stage.wait_converged(COUNT + 1, PATIENCE_SECONDS)
    await stage.wait_quiet(PATIENCE_SECONDS)
    assert fleet.writes(mark) == [], "O2: written after a restart"
    assert resident_mib(stage.operator.pid, peak=True) <= 150 + 0.05 * COUNT


@pytest.mark.case(29, "O1 O2 O3 O4")
async def test_an_edit_of_everything(fleet: Fleet) -> None:
    """Another objective for all: the rules and the live settings change, and no pod restarts."""
    stage, mark = fleet.stage, fleet.stage.audit.mark()
    patch = {"spec": {"slo": {"availability": {"objective": 99.9}}}}
    async with Crowd(stage.plane) as crowd:

        async def edit(gateway: Manifest) -> None:
            metadata = gateway["metadata"]
            await crowd.patch(kinds.GATEWAY, metadata["namespace"], metadata["name"], patch)

        await for_each(fleet.gateways, edit)
        await fleet.wait_judged(crowd)
    await stage.wait_quiet(PATIENCE_SECONDS)
    writes = fleet.writes(mark)
    assert _repeated(writes) == {}, "O3: written more than once"
    written = Counter(it.resource for it in writes)
    assert written["prometheusrules"] == COUNT, "O1: not every rule has the new objective"
    assert written["deployments"] == 0, "an objective restarts pods"
    assert written[_STATUS] <= 3 * COUNT, "O3: too many reports"


@pytest.mark.case(29, "O1 O4 O6")
async def test_bad_namespaces_among_many(fleet: Fleet) -> None:
    """One without quota and one that ends: theirs are refused and told so, the rest is served."""
    stage = fleet.stage
    good, full, ending = fleet.namespaces[0], "fleet-full", "fleet-ending"
    some = PER_NAMESPACE // 2
    _make_namespace(stage, full)
    _forbid_services(stage, full)
    _make_namespace(stage, ending)
    bad = [gateway_manifest(f"b{it:04}", full, **LEAN) for it in range(some)]
    doomed = [gateway_manifest(f"d{it:04}", ending, **LEAN) for it in range(some)]
    edit = {"spec": {"slo": {"availability": {"objective": 99.0}}}}
    mark = stage.audit.mark()
    async with Crowd(stage.plane) as crowd:
        await for_each([*bad, *doomed], crowd.apply)
        stage.cluster.delete("Namespace", "", ending)
        await for_each(
            [it for it in fleet.gateways if it["metadata"]["namespace"] == good],
            lambda it: crowd.patch(kinds.GATEWAY, good, it["metadata"]["name"], edit),
        )
        await fleet.wait_judged(crowd, good)
        await fleet.wait_judged(crowd, full, ready=False)
        reasons = {it["status"]["reason"] for it in await crowd.list_all(kinds.GATEWAY, full)}
        assert reasons == {"QuotaExceeded"}, "O4"
        await _wait_gone(stage, ending)
        # The refused may be tried again, with backoff: a few requests for each within the minute.
        refused = [it for it in stage.audit.since(mark) if it.namespace == full and it.code >= 400]
        assert len(refused) <= 2 * 12 * some, "O6"
        await for_each(bad, lambda it: crowd.delete(kinds.GATEWAY, full, it["metadata"]["name"]))
    # Events about the runtime, which has no namespace, are in `default`.
    written = (it for it in fleet.writes(mark) if it.resource != "events")
    harmed = {it.namespace for it in written} - {good, full, ending, ""}
    assert harmed == set(), "others were written to"


@pytest.mark.case(29, "O1 O5 O6")
async def test_gateways_that_come_and_go_within_a_minute(fleet: Fleet) -> None:
    """As many as there are, made and deleted again: nothing is left, not even memory."""
    stage, mark = fleet.stage, fleet.stage.audit.mark()
    before = resident_mib(stage.operator.pid)
    passing = stage.gateways(COUNT, "passing", **LEAN)
    namespaces = sorted({it["metadata"]["namespace"] for it in passing})
    async with Crowd(stage.plane) as crowd:
        await for_each(passing, crowd.apply)
        await for_each(
            passing,
            lambda it: crowd.delete(
                kinds.GATEWAY, it["metadata"]["namespace"], it["metadata"]["name"]
            ),
        )
        await stage.wait_quiet(PATIENCE_SECONDS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := await _kinds_left(crowd, namespaces):
            assert time.monotonic() < deadline, f"O1: children are left: {left}"
            await asyncio.sleep(1)
        for gateway in await crowd.list_all(kinds.GATEWAY):
            assert is_ready(gateway), "O1: one that stays was harmed"
    entries = [it for it in stage.audit.since(mark) if it.namespace in namespaces]
    refused = [it for it in entries if it.code >= 400]
    assert _repeated(entries) == {}, "O6: written more than once"
    assert len(refused) <= 2 * COUNT, f"O6: refused: {Counter(it.code for it in refused)}"
    assert resident_mib(stage.operator.pid) - before <= 30 + 0.03 * COUNT, "memory is kept"


@pytest.mark.case(29, "O1 O3 O4")
async def test_a_hundred_edits_in_a_second(fleet: Fleet) -> None:
    """They become a few passes, and the last of them is what is there."""
    stage, mark = fleet.stage, fleet.stage.audit.mark()
    key = (fleet.namespaces[0], fleet.gateways[0]["metadata"]["name"])
    levels = [("debug", "warning")[it % 2] for it in range(99)] + ["error"]
    async with Crowd(stage.plane) as crowd:
        began = time.monotonic()
        for number, level in enumerate(levels):
            await crowd.patch(
                kinds.GATEWAY, *key, {"spec": {"observability": {"logging": {"level": level}}}}
            )
            await asyncio.sleep(max(0.0, began + number / 100 - time.monotonic()))
        seconds = time.monotonic() - began
        await fleet.wait_judged(crowd, key[0])
    await stage.wait_quiet(PATIENCE_SECONDS)
    config = stage.cluster.must_get("ConfigMap", key[0], f"{key[1]}-config")
    assert '"error"' in str(config["data"]) or "level: error" in str(config["data"])
    written = Counter(it.resource for it in fleet.writes(mark, key[0]))
    most = 3 + 5 * seconds  # a key rests for 0.2 s after each pass
    assert written["configmaps"] <= most, "O3: edits do not coalesce"
    assert written[_STATUS] <= most, "O3: edits do not coalesce"


def _is_judged(gateway: Manifest) -> bool:
    status = gateway.get("status") or {}
    return bool(status.get("observedGeneration") == gateway["metadata"]["generation"])


def _repeated(writes: list[Entry]) -> dict[tuple[str, str, str], int]:
    """Children that were written more than once."""
    counts = Counter(
        (it.resource, it.namespace, it.name)
        for it in writes
        if it.resource in _CHILDREN and it.code < 300
    )
    return {key: count for key, count in counts.items() if count > 1}


def _make_namespace(stage: Stage, name: str) -> None:
    stage.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _forbid_services(stage: Stage, namespace: str) -> None:
    """A quota of none, in force when this returns."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace},
        "spec": {"hard": {"count/services": "0"}},
    }
    stage.cluster.apply(quota)
    path = path_of(quota)
    wait_for(
        lambda: stage.cluster.request("GET", path).get("status", {}).get("hard"),
        "the quota to be in force",
        PATIENCE_SECONDS,
    )


async def _wait_gone(stage: Stage, namespace: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while stage.cluster.get("Namespace", "", namespace) is not None:
        assert time.monotonic() < deadline, f"{namespace} does not end"
        await asyncio.sleep(1)


async def _kinds_left(crowd: Crowd, namespaces: list[str]) -> set[str]:
    """Of which kinds there are children left."""
    return {
        resource.kind
        for resource in kinds.CHILDREN
        for namespace in namespaces
        if not resource.optional or resource.group == kinds.PROMETHEUS_RULE.group
        if await crowd.has_any(resource, namespace)
    }
