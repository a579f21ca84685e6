"""The workers: each takes a key, has it reconciled, and queues it again if need be.

The one place where any failure is caught: a key that crashes its reconcile backs off, and
the others never notice. Nor do they notice one that is slow, such as a gateway in a namespace
whose admission webhook takes its time: after a few seconds its pass goes on in a lane of its
own, where such keys wait for each other, and its place is free for the next key.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from igw_operator.api.objects import ObjectKey
from igw_operator.control.lanes import Lanes, Turn
from igw_operator.control.outcome import Outcome, Result, outcome_of
from igw_operator.control.work_queue import WorkQueue
from igw_operator.errors import ApiError
from igw_operator.metrics import Metrics

Reconcile = Callable[[ObjectKey], Awaitable[Outcome]]

# A pass that takes longer is slow, and moves over.
_SLOW_SECONDS: Final = 3.0
# While there is no room for it, it is suffered for so long in all, and tried again as a slow one.
_SUFFERED_SECONDS: Final = 6.0
_AGAIN_SECONDS: Final = 2.0
_SLOW_SHARE: Final = 2
"""Slow passes at the same time, in multiples of the workers."""
# A pass ends by itself before: `reconcile` has a limit, and so has each request.
_PASS_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.05

_log = structlog.get_logger(__name__)


class Workers:
    """A few workers on one queue, and a lane for passes that take long."""

    def __init__(
        self,
        *,
        queue: WorkQueue[ObjectKey],
        gateways: Reconcile,
        runtimes: Reconcile,
        metrics: Metrics,
        clock: Callable[[], float],
        count: int,
    ) -> None:
        self._queue = queue
        self._gateways = gateways
        self._runtimes = runtimes
        self._metrics = metrics
        self._clock = clock
        self._count = count
        self._stop = asyncio.Event()
        self._lanes = Lanes(ordinary=count, slow=count * _SLOW_SHARE)
        self._slow: set[ObjectKey] = set()
        """Keys whose last pass was slow."""
        self._parked: deque[ObjectKey] = deque()
        """Slow keys that wait for room in the lane; to the queue they are being worked on."""

    def slow(self) -> int:
        """How many keys are known to take long."""
        return len(self._slow)

    async def run(self) -> None:
        """Work until cancelled."""
        # As many as can be busy at once: in ordinary places, and in the slow lane.
        async with asyncio.TaskGroup() as group:
            for number in range(self._count * (1 + _SLOW_SHARE)):
                group.create_task(self._work(), name=f"worker {number}")

    async def stop(self, patience_seconds: float) -> None:
        """Begin nothing new, and wait a little for what has begun."""
        self._stop.set()
        while self._parked:
            self._queue.done(self._parked.popleft())
        deadline = self._clock() + patience_seconds
        while self._queue.busy() and self._clock() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(_POLL_SECONDS)

    async def _work(self) -> None:
        while not self._stop.is_set():
            turn = await self._lanes.enter()
            try:
                key = await self._queue.get()
                if self._stop.is_set():
                    self._queue.done(key)
                elif key in self._slow and not turn.slow_down():
                    self._parked.append(key)
                else:
                    await self._see_through(turn, key)
                while turn.is_slow and self._parked:
                    await self._see_through(turn, self._parked.popleft())
            finally:
                turn.end()
            # A pass that finds nothing to do waits for nothing. Thousands of them in a row, after
            # a restart, would keep the lease from being renewed.
            await asyncio.sleep(0)

    async def _see_through(self, turn: Turn, key: ObjectKey) -> None:
        try:
            outcome = await self._reconcile(turn, key)
        finally:
            self._queue.done(key)
        self._follow_up(key, outcome)

    async def _reconcile(self, turn: Turn, key: ObjectKey) -> Outcome:
        started = self._clock()
        # A runtime has no namespace.
        reconcile = self._gateways if key.namespace else self._runtimes
        try:
            async with asyncio.timeout(_PASS_SECONDS) as limit:
                with self._watching(turn, key, limit):
                    outcome = await reconcile(key)
        except TimeoutError:
            _log.warning("Broke off a slow reconcile", key=str(key))
            outcome = Outcome(result=Result.FAILED, again_seconds=_AGAIN_SECONDS)
        except ApiError as error:
            _log.warning("Could not reconcile", key=str(key), error=str(error))
            outcome = outcome_of(error)
        except Exception:  # noqa: BLE001 - the boundary: one bad gateway must not stop the others
            _log.exception("Crashed in reconcile", key=str(key))
            outcome = Outcome(result=Result.CRASHED)
        self._metrics.reconcile_seconds.observe(self._clock() - started)
        self._metrics.reconciles.labels(outcome.result.value).inc()
        return outcome

    @contextmanager
    def _watching(self, turn: Turn, key: ObjectKey, limit: asyncio.Timeout) -> Iterator[None]:
        """Have a pass move over when it turns out to be slow, or broken off where it cannot."""
        loop = asyncio.get_running_loop()

        def move_over() -> None:
            self._slow.add(key)
            turn.slow_down()

        def break_off() -> None:
            if not turn.slow_down():
                limit.reschedule(loop.time())

        alarms = [
            loop.call_later(_SLOW_SECONDS, move_over),
            loop.call_later(_SUFFERED_SECONDS, break_off),
        ]
        try:
            yield
        finally:
            if loop.time() < alarms[0].when():
                self._slow.discard(key)
            for alarm in alarms:
                alarm.cancel()

    def _follow_up(self, key: ObjectKey, outcome: Outcome) -> None:
        if outcome.is_failure and outcome.again_seconds is None:
            self._queue.add_failed(key, at_least_seconds=outcome.at_least_seconds)
            return
        self._queue.forget(key)
        if outcome.is_failure and outcome.again_seconds is not None:
            self._queue.add_retry(key, outcome.again_seconds)
        elif outcome.again_seconds is not None:
            self._queue.add_after(key, outcome.again_seconds)
