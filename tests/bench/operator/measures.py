"""The measurements (a) to (g); each starts what it needs and ends it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.machine import read_load
from bench.operator.contestants import (
    NAIVE_USER,
    a_naive_operator,
    create_bare,
    create_by_operator,
    inputs_of,
    is_child,
    list_bare,
)
from factories import a_gateway
from fleet.crowd import Crowd, for_each
from fleet.ledger import AuditLog, count_by_kind
from fleet.stage import LEAN, Stage, a_stage
from fleet.vitals import cpu_seconds, resident_mib
from igw_operator import kinds
from igw_operator.plan.children import build_children
from integration.cluster import Manifest

_DEPLOYMENT_USER: Final = "system:serviceaccount:kube-system:deployment-controller"
_SETTLED_SECONDS: Final = 10.0
# Longer than minReadySeconds, during which the Deployment controller is silent, too.
_AVAILABLE_SECONDS: Final = 15.0
_SAMPLE_SECONDS: Final = 20.0
# One who writes on a timer is never silent.
_SILENCE_SECONDS: Final = 60.0
# A shared machine is ten times slower; what takes longer than this hangs.
_PATIENCE_SECONDS_EACH: Final = 3.0

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    gateways: int
    """Of the large fleet, with one pod each and no collector."""
    compared: int
    """Of each small fleet: gateways as their users write them, all defaults."""
    idle_seconds: float
    edits: int
    folder: Path

    def patience(self, gateways: int) -> float:
        """Longest wait for anything about so many gateways, in seconds."""
        return 120 + gateways * _PATIENCE_SECONDS_EACH


async def measure_creation(plan: Plan) -> Numbers:
    """(a), and (c) in brief: the same children by a bare client, our operator, a naive one."""
    count, patience = plan.compared, plan.patience(plan.compared)
    children = count * len(build_children(inputs_of(a_gateway())))
    found: Numbers = {"gateways": count, "children": children}
    with a_stage(plan.folder / "bare", controllers=False) as stage:
        found["bare"] = asdict(await create_bare(stage, stage.gateways(count)))
    with a_stage(plan.folder / "ours", controllers=False) as stage:
        stage.operator.start()
        found["ours"] = asdict(
            await create_by_operator(stage, stage.audit, stage.gateways(count), children, patience)
        )
        found["ours"]["idle_writes"] = await count_idle_writes(stage.audit, plan.idle_seconds / 5)
    users = {NAIVE_USER: ("system:masters",)}
    with (
        a_stage(plan.folder / "naive", controllers=False, users=users) as stage,
        a_naive_operator(stage, plan.folder / "naive") as naive,
    ):
        found["naive"] = asdict(
            await create_by_operator(stage, naive.audit, stage.gateways(count), children, patience)
        )
        found["naive"]["idle_writes"] = await count_idle_writes(naive.audit, plan.idle_seconds / 5)
    found["ratio"] = found["ours"]["seconds"] / found["bare"]["seconds"]
    found["naive_ratio"] = found["naive"]["seconds"] / found["bare"]["seconds"]
    found["idle_seconds"] = plan.idle_seconds / 5
    return found


async def measure_readiness(plan: Plan) -> Numbers:
    """(f): from the first gateway to the last Ready, on pods of kwok; and a restart."""
    found: Numbers = {"gateways": plan.compared, "bare": await _make_available(plan)}
    with a_stage(plan.folder / "ours-ready", controllers=True, nodes=True) as stage:
        stage.operator.start()

        def restart() -> None:
            stage.operator.stop()
            stage.operator.start()

        found["ours"] = await _make_ready(plan, stage, stage.audit, restart)
    users = {NAIVE_USER: ("system:masters",)}
    with (
        a_stage(plan.folder / "naive-ready", controllers=True, nodes=True, users=users) as stage,
        a_naive_operator(stage, plan.folder / "naive-ready") as naive,
    ):

        def restart_naive() -> None:
            naive.stop()
            naive.start()

        found["naive"] = await _make_ready(plan, stage, naive.audit, restart_naive)
    return found


async def _make_available(plan: Plan) -> Numbers:
    """The floor of (f): a bare client makes the children, and nobody judges or reports."""
    with a_stage(plan.folder / "bare-ready", controllers=True, nodes=True) as stage:
        gateways, began = stage.gateways(plan.compared), time.time()
        made = await create_bare(stage, gateways)
        reports = AuditLog(stage.plane.audit_log, _DEPLOYMENT_USER)
        await wait_silent(reports, plan.patience(plan.compared), _AVAILABLE_SECONDS)
        available = _last_reports(stage, 0)
        async with Crowd(stage.plane) as crowd:
            deployments = await crowd.list_all(kinds.DEPLOYMENT)
    waiting = [it for it in deployments if it["status"].get("unavailableReplicas")]
    assert deployments, "there is not one Deployment"
    assert not waiting, f"{len(waiting)} of {len(deployments)} Deployments are not available"
    return {"made_seconds": made.seconds, "seconds": max(available.values()) - began}


async def _make_ready(
    plan: Plan, stage: Stage, audit: AuditLog, restart: Callable[[], None]
) -> Numbers:
    count, mark = plan.compared, audit.mark()
    gateways = stage.gateways(count)
    async with Crowd(stage.plane) as crowd, crowd.watching_ready() as watch:
        began = time.time()
        await for_each(gateways, crowd.apply)
        with suppress(AssertionError):  # a naive operator may never get there
            await watch.wait(count, plan.patience(count))
        ready = dict(watch.since)
    await wait_silent(audit, _SILENCE_SECONDS)
    writes = count_by_kind(audit.since(mark))
    available = _last_reports(stage, mark)
    lags = [when - available[key] for key, when in ready.items() if key in available]
    mark = audit.mark()
    restart()
    await asyncio.sleep(_SETTLED_SECONDS)
    await wait_silent(audit, _SILENCE_SECONDS)
    return {
        "ready": len(ready),
        "seconds": max(ready.values(), default=time.time()) - began,
        "report_lag_seconds": describe(lags),
        "writes_each": {" ".join(key): n / count for key, n in sorted(writes.items())},
        "writes_per_gateway": sum(writes.values()) / count,
        "writes_after_restart": sum(count_by_kind(audit.since(mark)).values()),
    }


def _last_reports(stage: Stage, mark: int) -> dict[tuple[str, str], float]:
    """When each gateway's Deployment was last reported on: from then on it could be Ready."""
    log = AuditLog(stage.plane.audit_log, _DEPLOYMENT_USER)
    return {
        (it.namespace, it.name): it.time
        for it in log.since(mark)
        if it.resource == "deployments/status" and it.code < 300
    }


async def measure_fleet(plan: Plan) -> Numbers:
    """(b), (c), (d) and (e): thousands of gateways, all Ready."""
    count, patience = plan.gateways, plan.patience(plan.gateways)
    with a_stage(plan.folder / "fleet", controllers=True, nodes=True) as stage:
        operator = stage.operator
        operator.start()
        empty_mib = resident_mib(operator.pid)
        gateways = stage.gateways(count, **LEAN)
        async with Crowd(stage.plane) as crowd:
            async with crowd.watching_ready() as watch:
                began, spent = time.time(), cpu_seconds(operator.pid)
                await for_each(gateways, crowd.apply)
                ended = await watch.wait(count, patience)
            await stage.wait_quiet(patience)
            made = {
                "gateways": count,
                "objects": operator.metric("igw_operator_cached_objects"),
                "seconds_to_ready": ended - began,
                "operator_cpu_seconds": cpu_seconds(operator.pid) - spent,
            }
            edits = await _measure_edits(plan, stage, crowd, gateways)
        await stage.wait_quiet(patience)
        idle = await _measure_idle(plan, stage)
        restart = await _measure_restart(plan, stage)
        memory = {
            "empty_mib": empty_mib,
            "idle_mib": idle.pop("memory_mib"),
            "restart_peak_mib": resident_mib(operator.pid, peak=True),
        }
        operator.stop()
        errors = len(operator.errors())
    return {
        "made": made,
        "edits": edits,
        "idle": idle,
        "restart": restart,
        "memory": memory,
        "tracebacks": errors,
    }


async def _measure_edits(
    plan: Plan, stage: Stage, crowd: Crowd, gateways: Sequence[Manifest]
) -> Numbers:
    """(b): from the moment an edit is sent to the last of its children's writes."""
    chosen = gateways[:: max(1, len(gateways) // plan.edits)][: plan.edits]
    patch = {"spec": {"slo": {"availability": {"objective": 99.9}, "latency": {"objective": 98}}}}
    mark, sent = stage.audit.mark(), {}
    for gateway in chosen:
        metadata = gateway["metadata"]
        key = (metadata["namespace"], metadata["name"])
        sent[key] = time.time()
        await crowd.patch(kinds.GATEWAY, *key, patch)
        await asyncio.sleep(0.1)
    await stage.wait_quiet(plan.patience(plan.edits))
    applied: dict[tuple[str, str], float] = {}
    for entry in stage.audit.since(mark):
        if is_child(entry) and entry.code < 300:
            # A child is named after its gateway: photos-00001-slo.
            applied[entry.namespace, entry.name[: len("photos-00001")]] = entry.time
    seconds = [applied[key] - when for key, when in sent.items() if key in applied]
    return {"edits": len(chosen), "applied": len(seconds), "seconds": describe(seconds)}


async def _measure_idle(plan: Plan, stage: Stage) -> Numbers:
    """(c) and half of (e): nothing happens; what does the operator do?"""
    operator, mark = stage.operator, stage.audit.mark()
    before, began, lags = cpu_seconds(operator.pid), time.monotonic(), [0.0]
    while time.monotonic() - began < plan.idle_seconds:
        await asyncio.sleep(min(_SAMPLE_SECONDS, plan.idle_seconds))
        lags.append(operator.metric("igw_operator_loop_lag_seconds") or 0.0)
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "writes": sum(count_by_kind(stage.audit.since(mark)).values()),
        "cpu_percent": 100 * (cpu_seconds(operator.pid) - before) / seconds,
        "longest_lag_seconds": max(lags),
        "memory_mib": resident_mib(operator.pid),
    }


async def _measure_restart(plan: Plan, stage: Stage) -> Numbers:
    """(d): from the start of the process until every gateway was looked at."""
    operator, mark = stage.operator, stage.audit.mark()
    operator.stop()
    listing = await list_bare(stage)
    began = time.time()
    operator.start(wait=False)
    ended = await stage.wait_converged(plan.gateways + 1, plan.patience(plan.gateways))
    spent = cpu_seconds(operator.pid)
    await asyncio.sleep(_SETTLED_SECONDS)
    return {
        "seconds": ended - began,
        "cpu_seconds": spent,
        "bare_listing_seconds": listing,
        "writes": sum(count_by_kind(stage.audit.since(mark)).values()),
    }


async def count_idle_writes(audit: AuditLog, seconds: float) -> int:
    """How many writes there are in a while, after things have settled."""
    await asyncio.sleep(_SETTLED_SECONDS)
    mark = audit.mark()
    await asyncio.sleep(seconds)
    return sum(count_by_kind(audit.since(mark)).values())


async def wait_silent(audit: AuditLog, patience: float, seconds: float = 5.0) -> None:
    """Until there was no write for a while, or for as long as patience lasts: some never stop."""
    deadline, since = time.monotonic() + patience, time.monotonic()
    mark = audit.mark()
    while time.monotonic() - since < seconds and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        if any(True for _ in audit.since(mark)):
            mark, since = audit.mark(), time.monotonic()


def describe(values: Sequence[float]) -> Mapping[str, float]:
    """Median, 99th percentile and maximum."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


async def measure_all(plan: Plan, say: Callable[[str], None]) -> Numbers:
    """Everything, with a word about each part."""
    found: Numbers = {"load_before": read_load()}
    parts = {
        "creation": measure_creation,
        "readiness": measure_readiness,
        "fleet": measure_fleet,
    }
    for name, measure in parts.items():
        began = time.monotonic()
        found[name] = await measure(plan)
        say(f"{name}: {time.monotonic() - began:.0f} s")
    found["load_after"] = read_load()
    return found
