"""How often work is done in a second, and what it costs a processor: loops without a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def count_per_second(work: Callable[[int], object], threads: int, seconds: float) -> float:
    """Return how often a second all threads together get the work done."""
    counts = [0] * threads
    ends = time.monotonic() + seconds

    def loop(me: int) -> None:
        while time.monotonic() < ends:
            work(counts[me])
            counts[me] += 1

    began = time.monotonic()
    workers = [threading.Thread(target=loop, args=(me,)) for me in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.monotonic() - began)


def time_each(work: Callable[[T], object], items: Sequence[T], repeats: int = 25) -> float:
    """Return the processor time of one item, in one thread."""
    spent = time.thread_time()
    for _ in range(repeats):
        for item in items:
            work(item)
    return (time.thread_time() - spent) / repeats / len(items)
