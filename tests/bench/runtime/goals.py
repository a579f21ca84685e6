"""What was to be reached, beside what was: never an exit status. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

OURS: Final = "ours"
DOCUMENTED: Final = "-documented"
Numbers = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One ratio, its bound, and which side of the bound is right."""

    what: str
    value: float
    bound: float
    at_least: bool
    percent: bool = False

    @property
    def met(self) -> bool:
        """Tell whether it was reached."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


_SERVED: Final = {"bf16": 0.93, "int8": 0.85}


def check_goals(results: Numbers) -> list[Goal]:
    """Return every goal of which there are numbers."""
    return [
        *_check_engine(results),
        *_check_peers(results),
        *_check_ours(results),
        *_check_torch(results),
        *_check_overhead(results),
    ]


def find_peers(results: Numbers, *, documented: bool) -> dict[str, Numbers]:
    """Return the peers of one table that have numbers."""
    return {
        name: it
        for name, it in results["contestants"].items()
        if name != OURS and name.endswith(DOCUMENTED) == documented and "capacity" in it
    }


def _check_engine(results: Numbers) -> Iterator[Goal]:
    for precision, bound in _SERVED.items():
        if precision in results["served"]:
            yield Goal(
                what=f"Served ÷ engine alone, {precision}",
                value=results["served"][precision] / results["raw"][precision]["infer"],
                bound=bound,
                at_least=True,
            )


def _check_peers(results: Numbers) -> Iterator[Goal]:
    ours = results["contestants"].get(OURS, {})
    same = find_peers(results, documented=False)
    documented = find_peers(results, documented=True)
    if "capacity" in ours and same:
        best = max(it["capacity"] for it in same.values())
        what = "Capacity ÷ best peer's, same engine"
        yield Goal(what=what, value=ours["capacity"] / best, bound=1.3, at_least=True)
        for share, load in ours["loads"].items():
            lowest = min(it["loads"][share]["p99"] for it in same.values())
            yield Goal(
                what=f"p99 ÷ lowest of a peer, same engine, {float(share):.0%} of our capacity",
                value=load["p99"] / lowest,
                bound=0.5,
                at_least=False,
            )
    if "capacity" in ours and documented:
        best = max(it["capacity"] for it in documented.values())
        what = "Capacity ÷ best peer's, as documented"
        yield Goal(what=what, value=ours["capacity"] / best, bound=4, at_least=True)


def _check_ours(results: Numbers) -> Iterator[Goal]:
    ours = results["contestants"].get(OURS, {})
    if "capacity" not in ours:
        return
    what = "Goodput at twice the capacity ÷ capacity"
    yield Goal(what=what, value=ours["overload"]["goodput_ratio"], bound=0.95, at_least=True)
    ratio = ours["loads"]["0.8"]["p99"] / ours["unloaded_p50"]
    yield Goal(what="p99 at 80 % ÷ unloaded p50", value=ratio, bound=7, at_least=False)
    failed = ours["end"]["failed"]
    yield Goal(what="Failed requests on SIGTERM", value=failed, bound=0, at_least=False)


def _check_torch(results: Numbers) -> Iterator[Goal]:
    ours, torch = results["contestants"].get(OURS, {}), results.get("torch", {})
    if "capacity" in ours and "seconds" in torch.get("compile", {}):
        ratio = ours["ready_seconds"] / torch["compile"]["seconds"]
        what = "Time to ready ÷ cold torch.compile's"
        yield Goal(what=what, value=ratio, bound=0.1, at_least=False)
    if "capacity" in ours and "memory_mib" in torch.get("eager", {}):
        ratio = ours["memory_mib"] / torch["eager"]["memory_mib"]
        yield Goal(what="Memory ÷ torch eager's", value=ratio, bound=0.6, at_least=False)


def _check_overhead(results: Numbers) -> Iterator[Goal]:
    real = results.get("overhead", {}).get("real", {})
    for name, it in real.items():
        if name != "nothing":
            yield Goal(
                what=f"Observability, processor a request: {name}",
                value=it["ratio"] - 1,
                bound=0.01,
                at_least=False,
                percent=True,
            )
