"""One visit to a server: from its start to its end, everything that the tables say about it."""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.load import Report, percentile
from bench.runtime.contestants import Contestant
from bench.runtime.environments import InstallError
from bench.runtime.peers.bounds import DEADLINE_SECONDS
from bench.runtime.processes import PATIENCE_SECONDS, Server, StartError, started
from bench.sending import running, send
from runtime_kit.process import fetch

SHARES: Final = (0.5, 0.8)
"""Of our capacity: the loads at which latencies are compared."""
CLIENTS: Final = 8
OVERLOAD: Final = 2.0
FRESH_RATIO: Final = 0.2
_PROPAGATION_SECONDS: Final = 1.0
_EXIT_SECONDS: Final = 15.0

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long each part of a visit takes, in seconds, and how often all is visited."""

    rounds: int
    documented_rounds: int
    warm: float
    unloaded: float
    capacity: float
    load: float
    overload: float
    raw: float
    overhead_cycles: int
    overhead: float
    folder: Path


FULL: Final[Mapping[str, float]] = {
    "rounds": 3,
    "documented_rounds": 1,
    "warm": 1.5,
    "unloaded": 2,
    "capacity": 5,
    "load": 7,
    "overload": 6,
    "raw": 3,
    "overhead_cycles": 6,
    "overhead": 2.5,
}
QUICK: Final[Mapping[str, float]] = {
    "rounds": 1,
    "documented_rounds": 1,
    "warm": 0.5,
    "unloaded": 0.5,
    "capacity": 1.5,
    "load": 1.5,
    "overload": 1.5,
    "raw": 1,
    "overhead_cycles": 2,
    "overhead": 1,
}


def visit(
    contestant: Contestant,
    plan: Plan,
    folder: Path,
    pictures: Sequence[bytes],
    *,
    reference: float | None,
    seed: int,
) -> Numbers:
    """Measure one server; what prevents that is the only thing that is said of it then."""
    try:
        with started(contestant, folder, pictures) as server:
            return _measure(server, plan, reference, seed)
    except (InstallError, StartError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001  one server must not end a run of half an hour
        return {"error": f"{type(error).__name__}: {error}"}


def measure_capacity(server: Server, plan: Plan, seed: int) -> float:
    """Return answers a second while so many clients always wait for one."""
    send(server.plan(clients=2, seconds=plan.warm))
    report = send(server.plan(clients=CLIENTS, seconds=plan.capacity, seed=seed))
    return report.throughput(after=plan.capacity / 10)


def _measure(server: Server, plan: Plan, reference: float | None, seed: int) -> Numbers:
    capacity = measure_capacity(server, plan, seed)
    if not capacity:
        message = f"it answered nothing under load:\n{server.explain()}"
        raise StartError(message)
    found: Numbers = {
        "ready_seconds": server.ready_seconds,
        "capacity": capacity,
        "memory_mib": server.memory_mib(),
        "unloaded": _latencies(send(server.plan(clients=1, seconds=plan.unloaded))),
        "processes": len(server.pids()),
        "loads": {},
    }
    for share in SHARES:
        rate = share * (reference or capacity)
        found["loads"][str(share)] = _measure_load(server, rate, plan.load, seed)
    found["overload"] = _measure_overload(server, OVERLOAD * capacity, plan.overload, seed)
    _settle(server)
    return found | {"end": _measure_end(server, SHARES[0] * capacity, seed)}


def _measure_load(server: Server, rate: float, seconds: float, seed: int) -> Numbers:
    spent = server.cpu_seconds()
    report = send(server.plan(rate=rate, seconds=seconds, seed=seed))
    spent = server.cpu_seconds() - spent
    return {
        "rate": rate,
        "latencies": _latencies(report),
        "faults": report.faults,
        "cpu_seconds": spent,
        "answered": len(report.answered),
        "generator": {
            "lag_seconds": report.lag_seconds,
            "cpu_share": report.cpu_seconds / report.seconds,
        },
    }


def _latencies(report: Report) -> list[float]:
    """Return all latencies; a request that got no picture classified never ended."""
    return [round(it.seconds, 6) for it in report.answered] + [math.inf] * len(report.failed)


def _measure_overload(server: Server, rate: float, seconds: float, seed: int) -> Numbers:
    """Count what is good once queues had time to fill: after the first third."""
    report = send(server.plan(rate=rate, seconds=seconds, seed=seed))
    after = seconds / 3
    accepted = [it.seconds for it in report.answered if it.intended >= after]
    return {
        "rate": rate,
        "goodput": report.goodput(within_seconds=DEADLINE_SECONDS, after=after),
        "answered_p99": percentile(accepted, 99),
        "faults": report.faults,
    }


def _settle(server: Server) -> None:
    """Wait until what was left of an overload is done: until somebody new is answered."""
    until = time.monotonic() + 2 * PATIENCE_SECONDS
    while time.monotonic() < until:
        status, _ = fetch(server.launch.url, server.bodies[0], server.headers)
        if status == 200:
            return
        time.sleep(0.1)


def _measure_end(server: Server, rate: float, seed: int) -> Numbers:
    """SIGTERM under load, which goes on for as long as load balancers need to hear of it."""
    seconds = 1.0 + _PROPAGATION_SECONDS
    load = server.plan(rate=rate, seconds=seconds, seed=seed, fresh_ratio=FRESH_RATIO)
    with running(load) as on_its_way:
        time.sleep(max(0.0, on_its_way.began + 1.0 - time.monotonic()))
        server.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        report = on_its_way.wait()
    return {
        "sent": sum(1 for it in report.samples if it.ended > told - report.began),
        "failed": len(report.failed),
        "faults": report.faults,
        "exit_seconds": _wait_exit(server, told),
    }


def _wait_exit(server: Server, told: float) -> float:
    """Return the seconds from the signal to the exit; infinite if that was not waited for."""
    try:
        server.process.wait(max(0.1, told + _EXIT_SECONDS - time.monotonic()))
    except subprocess.TimeoutExpired:
        return math.inf
    return time.monotonic() - told
