"""What was to be reached, and what keeps us from more: from the numbers alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench.gpu.ways import PICTURE, TENSORS
from bench.runtime.goals import Goal

Numbers = Mapping[str, Any]
SERVED: Final = 0.8
_BUSY: Final = 0.85
_TITLES: Final = {TENSORS: "tensors", PICTURE: "pictures"}


def read_rate(raw: Numbers) -> float:
    """Return the images a second of the engine alone: in as many threads as help.

    The largest there is, as the server has several threads, too.
    """
    return float(max(raw["threads"].values()))


def find_best(raw: Numbers, mode: str) -> str:
    """Return the name of a mode's fastest configuration, "" if none of them ran."""
    names = [name for name, it in raw.items() if name.endswith(mode) and "threads" in it]
    return max(names, key=lambda it: read_rate(raw[it]), default="")


def check_goals(results: Numbers) -> list[Goal]:
    """Return a goal for tensors and one for pictures, for each configuration that was served."""
    return [*_check_goals(results)]


def _check_goals(results: Numbers) -> Iterator[Goal]:
    for name, served in results["served"].items():
        raw = read_rate(results["raw"][name])
        for way, title in _TITLES.items():
            if way in served["ways"]:
                yield Goal(
                    what=f"Served ÷ engine alone, {title}, {name}",
                    value=served["ways"][way]["rate"] / raw,
                    bound=SERVED,
                    at_least=True,
                )


def count_cores(way: Numbers) -> float:
    """Return how many processors the server had at work while it served all it could."""
    return float(way["cpu_seconds_each"] * way["rate"])


def find_limit(way: Numbers, batch: int, cores: int) -> str:
    """Say what was used up when no more was served, as far as the numbers tell."""
    loop = way["loop_seconds_each"] * way["rate"]
    if way["generator_cpu_share"] >= _BUSY:
        return (
            "the load generator was at its own limit, so that the server could have done more than "
            "this says"
        )
    if loop >= _BUSY:
        return (
            f"the event loop of the one process was busy {min(loop, 1):.0%} of the time: what is "
            "left to gain needs several processes for one GPU"
        )
    if count_cores(way) + way["generator_cores"] >= _BUSY * cores:
        return f"all cores were at work, of which there are {cores}"
    if way["mean_batch"] < batch / 2:
        return (
            f"a forward pass had {way['mean_batch']:.1f} images, where {batch} are best: workers "
            "take what there is, and there are more workers than batches"
        )
    return (
        f"neither cores ({count_cores(way):.1f} of {cores}) nor the event loop ({loop:.0%}) nor "
        "the generator were used up: what is left is the device, or the interpreter's lock"
    )
