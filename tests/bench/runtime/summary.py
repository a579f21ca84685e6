"""From visits to what the tables say: latencies are pooled, everything else is a median. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from bench.load import percentile

Numbers = dict[str, Any]


def summarise(visits: Sequence[Mapping[str, Any]]) -> Numbers:
    """Return one server's numbers of all rounds; an error of any round is reported as such."""
    errors = [it["error"] for it in visits if "error" in it]
    whole = [it for it in visits if "error" not in it]
    found: Numbers = {"visits": len(visits), "errors": errors}
    if not whole:
        return found
    shares = list(whole[0]["loads"])
    loads = {share: _pool_loads([it["loads"][share] for it in whole]) for share in shares}
    return found | {
        "ready_seconds": _median(whole, lambda it: it["ready_seconds"]),
        "capacity": _median(whole, lambda it: it["capacity"]),
        "capacities": [round(it["capacity"], 2) for it in whole],
        "memory_mib": _median(whole, lambda it: it["memory_mib"]),
        "processes": whole[0]["processes"],
        "unloaded_p50": percentile(_pool(it["unloaded"] for it in whole), 50),
        "loads": loads,
        "overload": {
            "goodput": _median(whole, lambda it: it["overload"]["goodput"]),
            # Of each round: what a server takes varies less than what a client offers.
            "goodput_ratio": _median(whole, lambda it: it["overload"]["goodput"] / it["capacity"]),
            "answered_p99": _median(whole, lambda it: it["overload"]["answered_p99"]),
            "faults": _sum_faults([it["overload"]["faults"] for it in whole]),
        },
        "end": {
            "sent": sum(it["end"]["sent"] for it in whole),
            "failed": sum(it["end"]["failed"] for it in whole),
            "faults": _sum_faults([it["end"]["faults"] for it in whole]),
            "exit_seconds": _median(whole, lambda it: it["end"]["exit_seconds"]),
        },
    }


def _pool_loads(loads: Sequence[Mapping[str, Any]]) -> Numbers:
    latencies = _pool(it["latencies"] for it in loads)
    answered = sum(it["answered"] for it in loads)
    return {
        "rate": loads[0]["rate"],
        "requests": len(latencies),
        "failed": sum(1 for it in latencies if math.isinf(it)),
        "p50": percentile(latencies, 50),
        "p99": percentile(latencies, 99),
        "cpu_seconds_each": sum(it["cpu_seconds"] for it in loads) / max(1, answered),
        "faults": _sum_faults([it["faults"] for it in loads]),
        "generator_lag_seconds": max(it["generator"]["lag_seconds"] for it in loads),
        "generator_cpu_share": max(it["generator"]["cpu_share"] for it in loads),
    }


def _pool(lists: Any) -> list[float]:
    return [value for values in lists for value in values]


def _sum_faults(each: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for faults in each:
        total.update(faults)
    return dict(total)


def _median(
    visits: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], float]
) -> float:
    return median(read(it) for it in visits)
