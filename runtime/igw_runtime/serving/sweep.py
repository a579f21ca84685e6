"""Which size of batch pays: measured at start-up, on this machine, with this model.

On CPUs a batch often wins nothing and only makes its first picture wait for its last; on GPUs it
wins a lot. `serving.maxBatch: auto` asks for this; a number is taken as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from igw_runtime.engines.protocol import Session
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.settings import MAX_BATCH

SWEEP_SECONDS: Final = 1.0
GAIN_RATIO: Final = 1.03
"""Less than this much is noise, and the larger batch would cost latency for nothing."""
_TIMED_RUNS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What was measured, in seconds an image by size of batch, and what follows from it."""

    costs: Mapping[int, float]

    @property
    def chosen(self) -> int:
        """Return the smallest size that is as good as the best one."""
        best = min(self.costs.values())
        return min(size for size, cost in self.costs.items() if cost <= best * GAIN_RATIO)


def sweep_batches(
    session: Session,
    image: Tensor,
    clock: Callable[[], float],
    *,
    largest: int = MAX_BATCH,
    seconds: float = SWEEP_SECONDS,
) -> Sweep:
    """Time batches of 1, 2, 4, … images on a warm session, as far as the time allows."""
    until = clock() + seconds
    costs = {1: _measure(session, image, 1, clock)}
    size = 2
    while size <= largest:
        expected = min(costs.values()) * size * (_TIMED_RUNS + 1)
        if clock() + expected > until:
            break
        costs[size] = _measure(session, image, size, clock)
        size *= 2
    return Sweep(costs=costs)


def _measure(session: Session, image: Tensor, size: int, clock: Callable[[], float]) -> float:
    """Return the seconds an image takes; the first run of a size prepares it, and is not timed."""
    batch = np.ascontiguousarray(np.stack([image] * size))
    session.infer(batch)
    runs: list[float] = []
    for _ in range(_TIMED_RUNS):
        started = clock()
        session.infer(batch)
        runs.append(clock() - started)
    return min(runs) / size
