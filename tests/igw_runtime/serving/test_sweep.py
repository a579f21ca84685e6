from collections.abc import Callable

import numpy as np
import pytest

from igw_runtime.engines.protocol import Batch
from igw_runtime.serving.sweep import Sweep, sweep_batches

IMAGE = np.zeros((3, 4, 4), dtype=np.float32)


class TimedSession:
    """An engine on a clock of its own, whose passes take what a test says."""

    def __init__(self, cost: Callable[[int], float]) -> None:
        self.now = 0.0
        self.batches: list[int] = []
        self._cost = cost

    def clock(self) -> float:
        return self.now

    def infer(self, batch: Batch) -> Batch:
        first = len(batch) not in self.batches
        self.batches.append(len(batch))
        # The first pass of a size allocates and compiles, and would be held against it.
        self.now += self._cost(len(batch)) * (3 if first else 1)
        return np.zeros((len(batch), 2), dtype=np.float32)


def sweep(cost: Callable[[int], float]) -> Sweep:
    """Sweep an engine of these costs."""
    session = TimedSession(cost)
    return sweep_batches(session, IMAGE, session.clock)


def test_device_that_gains_from_batches_gets_large_ones() -> None:
    """A fixed cost of a pass is shared by its images: the size after which that ends is taken."""
    found = sweep(lambda size: 0.001 + 0.00001 * max(size, 16))

    assert list(found.costs) == [1, 2, 4, 8, 16, 32, 64]
    assert found.chosen == 64
    assert found.costs[1] == pytest.approx(0.00116)


def test_device_that_gains_nothing_gets_single_images() -> None:
    """What costs the same by the image is not made to wait for others."""
    assert sweep(lambda size: 0.005 * size).chosen == 1


def test_gain_within_the_noise_is_none() -> None:
    """Two per cent are no reason to wait; of equals the smallest is taken."""
    assert Sweep(costs={1: 1.02, 2: 1.0, 4: 1.01}).chosen == 1
    assert Sweep(costs={1: 1.04, 2: 1.02, 4: 1.0}).chosen == 2


@pytest.mark.parametrize("seconds_an_image", [0.0001, 0.035, 0.2, 5.0])
def test_start_is_delayed_by_about_a_second_at_most(seconds_an_image: float) -> None:
    """A slow model is measured at fewer sizes, the slowest at one image only."""
    session = TimedSession(lambda size: seconds_an_image * size)
    found = sweep_batches(session, IMAGE, session.clock)

    # The first pass of a size is dearer than was known when it was begun.
    assert session.now <= max(2.0, 5.5 * seconds_an_image)
    assert 1 in found.costs
    assert (len(found.costs) == 1) is (seconds_an_image >= 0.2)
