"""The workers: each takes a key, has it reconciled, and queues it again if need be.

The one place where any failure is caught: a key that crashes its reconcile backs off, and
the others never notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from igw_operator.api.objects import ObjectKey
from igw_operator.control.outcome import Outcome, Result, outcome_of
from igw_operator.control.work_queue import WorkQueue
from igw_operator.errors import ApiError
from igw_operator.metrics import Metrics

Reconcile = Callable[[ObjectKey], Awaitable[Outcome]]

# Longer than any sum of request timeouts of one pass; a hung pass must not keep its worker.
_PASS_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.05

_log = structlog.get_logger(__name__)


class Workers:
    """A few workers on one queue."""

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
        self._is_stopping = False

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"worker {number}")

    async def stop(self, patience_seconds: float) -> None:
        """Begin nothing new, and wait a little for what has begun."""
        self._is_stopping = True
        deadline = self._clock() + patience_seconds
        while self._queue.busy() and self._clock() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(_POLL_SECONDS)

    async def _work(self) -> None:
        while not self._is_stopping:
            key = await self._queue.get()
            try:
                outcome = await self._reconcile(key)
            finally:
                self._queue.done(key)
            self._follow_up(key, outcome)

    async def _reconcile(self, key: ObjectKey) -> Outcome:
        started = self._clock()
        # A runtime has no namespace.
        reconcile = self._gateways if key.namespace else self._runtimes
        try:
            async with asyncio.timeout(_PASS_SECONDS):
                outcome = await reconcile(key)
        except ApiError as error:
            _log.warning("Could not reconcile", key=str(key), error=str(error))
            outcome = outcome_of(error)
        except Exception:  # noqa: BLE001 - the boundary: one bad gateway must not stop the others
            _log.exception("Crashed in reconcile", key=str(key))
            outcome = Outcome(result=Result.CRASHED)
        self._metrics.reconcile_seconds.observe(self._clock() - started)
        self._metrics.reconciles.labels(outcome.result.value).inc()
        return outcome

    def _follow_up(self, key: ObjectKey, outcome: Outcome) -> None:
        if outcome.is_failure:
            self._queue.add_failed(key, at_least_seconds=outcome.again_seconds or 0.0)
            return
        self._queue.forget(key)
        if outcome.again_seconds is not None:
            self._queue.add_after(key, outcome.again_seconds)
