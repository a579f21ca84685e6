"""The queue of keys to reconcile, with the semantics of client-go's workqueue.

A key is queued once however often it is added; while it is being worked on, an addition is
remembered and queues it again afterwards, so no key is ever worked on twice at once and no
change is lost. After its work a key rests for a moment: a burst of changes becomes a few
passes. Retries back off for each key and share one token bucket.
See https://pkg.go.dev/k8s.io/client-go/util/workqueue.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT")

_IMMEDIATELY: Final = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a failing key waits, and how many retries a second all keys share."""

    first_seconds: float = 0.5
    longest_seconds: float = 300.0
    jitter_ratio: float = 0.2
    retries_per_second: float = 50.0
    burst: float = 200.0

    def delay(self, failures: int, random: float) -> float:
        """Seconds before the retry after that many failures; ``random`` is in [0, 1)."""
        # The exponent is bounded: 2.0 ** 1100 overflows.
        delay = min(self.first_seconds * 2.0 ** min(failures - 1, 32), self.longest_seconds)
        return min(delay * (1 + self.jitter_ratio * random), self.longest_seconds)


class WorkQueue(Generic[KeyT]):
    """Keys that wait, keys that are worked on, keys that are due later."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        backoff: Backoff | None = None,
        rest_seconds: float = 0.0,
    ) -> None:
        self._clock = clock
        self._random = random
        self._backoff = backoff or Backoff()
        self._ready: deque[KeyT] = deque()
        self._dirty: dict[KeyT, float] = {}  # queued, or to be queued when done: since when
        self._processing: set[KeyT] = set()
        self._rest_seconds = rest_seconds
        self._resting: set[KeyT] = set()
        self._rests: deque[tuple[float, KeyT]] = deque()  # in order: all rests are equally long
        self._later: list[tuple[float, int, KeyT]] = []
        self._due: dict[KeyT, float] = {}
        self._order = count()
        self._failures: dict[KeyT, int] = {}
        self._tokens = self._backoff.burst
        self._filled_at = clock()
        self._wakeup = asyncio.Event()

    def add(self, key: KeyT) -> None:
        """Have a key worked on as soon as possible."""
        if key in self._dirty:
            return
        self._dirty[key] = self._clock()
        if key not in self._processing and key not in self._resting:
            self._ready.append(key)
            self._wakeup.set()

    def add_after(self, key: KeyT, seconds: float) -> None:
        """Have a key worked on later; of several such wishes the earliest counts."""
        if seconds <= _IMMEDIATELY:
            self.add(key)
            return
        due = self._clock() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._wakeup.set()

    def add_failed(self, key: KeyT, *, at_least_seconds: float = 0.0) -> float:
        """Have a key retried after its backoff, or later; return the delay."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(self._failures[key], self._random())
        delay = max(delay, at_least_seconds, self._reserve())
        self.add_after(key, delay)
        return delay

    def add_retry(self, key: KeyT, seconds: float) -> None:
        """Have a key retried after its own pause, as far as the shared rate of retries allows."""
        jitter = 1 + self._backoff.jitter_ratio * self._random()
        self.add_after(key, max(seconds * jitter, self._reserve()))

    def forget(self, key: KeyT) -> None:
        """Drop the key's failures: its last pass was fine."""
        self._failures.pop(key, None)

    async def get(self) -> KeyT:
        """Wait for a key and take it; `done` must follow."""
        while True:
            self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._processing.add(key)
                self._dirty.pop(key, None)
                return key
            self._wakeup.clear()
            await self._sleep()

    def done(self, key: KeyT) -> None:
        """Say that the work on a key has ended; it is queued again if it was added meanwhile."""
        self._processing.discard(key)
        if self._rest_seconds:
            self._resting.add(key)
            self._rests.append((self._clock() + self._rest_seconds, key))
        elif key in self._dirty:
            self._ready.append(key)
            self._wakeup.set()

    def depth(self) -> int:
        """How many keys wait to be worked on now."""
        return len(self._ready)

    def busy(self) -> int:
        """How many keys are worked on now."""
        return len(self._processing)

    def oldest_seconds(self) -> float:
        """How long the key that waits longest has waited; other threads may ask, too."""
        # A copy is made in one step, which no other thread comes between.
        since = (self._dirty.get(key, math.inf) for key in list(self._ready))
        return max(0.0, self._clock() - min(since, default=math.inf))

    def _promote(self) -> None:
        now = self._clock()
        while self._rests and self._rests[0][0] <= now:
            _, key = self._rests.popleft()
            self._resting.discard(key)
            if key in self._dirty:
                self._ready.append(key)
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:  # otherwise an earlier wish has replaced it
                del self._due[key]
                self.add(key)

    async def _sleep(self) -> None:
        due = [it[0][0] for it in (self._later, self._rests) if it]
        pause = min(due) - self._clock() if due else None
        try:
            async with asyncio.timeout(pause):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    def _reserve(self) -> float:
        """Take one retry out of the bucket; return how long to wait for it."""
        now = self._clock()
        rate = self._backoff.retries_per_second
        self._tokens = min(self._backoff.burst, self._tokens + (now - self._filled_at) * rate) - 1
        self._filled_at = now
        return max(0.0, -self._tokens / rate)
