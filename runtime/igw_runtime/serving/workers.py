"""Threads that take jobs off the queue: one session of each model, decode and inference alike.

The number of threads is the number of OpenVINO streams: two one-thread streams beat one
two-thread stream in throughput, and decoding uses the same cores as inference does.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from igw_runtime.engines.protocol import Batch, Session
from igw_runtime.errors import InternalError, RequestError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.classifier import Classifier, Timing
from igw_runtime.serving.jobs import Job, JobQueue
from igw_runtime.telemetry.metrics import Metrics

_SMOOTHING: Final = 0.1
_Lanes = Mapping[ServedModel, tuple[Classifier, Session]]
T = TypeVar("T")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One model's way through the workers: what is done with its jobs, and a session for each."""

    classifier: Classifier
    sessions: Sequence[Session]


class WorkerPool:
    """The worker threads of the process, shared by all models."""

    def __init__(
        self,
        *,
        lanes: Sequence[Lane],
        queue: JobQueue,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._mean_seconds = 0.0
        self._busy_since: dict[int, float] = {}
        self._threads = [
            threading.Thread(
                target=self._run, args=(_assign(lanes, n),), name=f"worker-{n}", daemon=True
            )
            for n in range(len(lanes[0].sessions))
        ]

    @property
    def size(self) -> int:
        """Return the number of threads."""
        return len(self._threads)

    @property
    def mean_seconds(self) -> float:
        """Return the smoothed time that one job takes a worker; 0 before the first."""
        return self._mean_seconds

    def longest_busy_seconds(self) -> float:
        """Return how long the slowest current batch has been running: a stuck engine shows."""
        started = list(self._busy_since.values())
        return self._clock() - min(started) if started else 0.0

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        self._metrics.workers.set(self.size)

    def join(self, timeout_seconds: float) -> None:
        """Wait for the threads to end after the queue was closed, for all of them together."""
        until = self._clock() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock()))

    def _run(self, lanes: _Lanes) -> None:
        while self._work(lanes):
            pass

    def _work(self, lanes: _Lanes) -> bool:
        """Process one batch; it is freed before the next one is waited for."""
        jobs = self._queue.take()
        if not jobs:
            return False
        classifier, session = lanes[jobs[0].model]
        me = threading.get_ident()
        started = self._busy_since[me] = self._clock()
        self._process(classifier, session, jobs)
        del self._busy_since[me]
        seconds = (self._clock() - started) / len(jobs)
        previous = self._mean_seconds or seconds
        self._mean_seconds = previous + _SMOOTHING * (seconds - previous)
        return True

    def _process(self, classifier: Classifier, session: Session, jobs: list[Job[Any]]) -> None:
        prepared: list[tuple[Job[Any], Tensor]] = []
        for job in jobs:
            if self._dropped(job):
                continue
            tensor = self._guard(job, partial(classifier.prepare, job))
            if tensor is not None and not self._dropped(job):
                prepared.append((job, tensor))
        if not prepared:
            return
        try:
            scores, timing = classifier.infer(session, [tensor for _, tensor in prepared])
        except Exception as error:  # noqa: BLE001  request boundary: engines raise anything
            for job, _ in prepared:
                self._fail(job, error)
            return
        for (job, _), row in zip(prepared, scores, strict=True):
            self._finish(classifier, job, row, timing)

    def _finish(self, classifier: Classifier, job: Job[Any], row: Batch, timing: Timing) -> None:
        answer = self._guard(job, partial(classifier.finish, job, row, timing))
        if answer is not None:
            job.resolve(answer)

    def _guard(self, job: Job[Any], step: Callable[[], T]) -> T | None:
        """Run one step in the job's context; a failure is the job's answer, never the thread's."""
        try:
            return job.context.run(step)
        except Exception as error:  # noqa: BLE001  request boundary
            self._fail(job, error)
            return None

    def _fail(self, job: Job[Any], error: Exception) -> None:
        if isinstance(error, RequestError):
            job.reject(error)
            return
        job.context.run(lambda: _log.error("worker_failed", exc_info=error))
        job.reject(InternalError("the image could not be classified"))

    def _dropped(self, job: Job[Any]) -> bool:
        if not job.abandoned:
            return False
        self._metrics.abandoned.inc()
        return True


def _assign(lanes: Sequence[Lane], number: int) -> _Lanes:
    """Return what the worker of this number does for each model."""
    return {lane.classifier.model: (lane.classifier, lane.sessions[number]) for lane in lanes}
