"""The bound that no server can beat: the engine and decoding alone, behind one queue.

A server that costs nothing still has to run each picture on a core. What its clients would wait
follows from the arrivals and the time of one picture: an M/D/c queue (Poisson arrivals, constant
service, c servers), simulated because its percentiles have no closed form worth reading. Pure.
"""

from __future__ import annotations

import heapq
import random
from typing import Final

from bench.load import percentile

_REQUESTS: Final = 200_000


def simulate(rate: float, *, seconds_each: float, cores: int, seed: int = 0) -> dict[str, float]:
    """Return the median and the 99th percentile of the time to an answer, in seconds.

    Args:
        rate: arrivals a second.
        seconds_each: the time that one picture takes one core.
        cores: pictures that are worked on at once.
        seed: of the arrivals.
    """
    arrivals = random.Random(seed)  # noqa: S311  a queue, not a key
    free = [0.0] * cores
    now, latencies = 0.0, []
    for _ in range(_REQUESTS):
        now += arrivals.expovariate(rate)
        ended = max(now, free[0]) + seconds_each
        heapq.heapreplace(free, ended)
        latencies.append(ended - now)
    return {"p50": percentile(latencies, 50), "p99": percentile(latencies, 99)}
