"""One unit of work on its way from the event loop to a worker thread and back.

The event loop creates a job, waits for its future, and may abandon it; a worker thread resolves
it. An abandoned job leaves the queue at once, with the body that it holds: what admission gave
back, memory must have given back too. A worker that has it already drops it at its next step.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from igw_runtime.errors import DeadlineExceededError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.deadlines import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePayload:
    """A request body that has an image in it somewhere."""

    body: bytes
    content_type: str = ""
    content_encoding: str = ""

    @property
    def packed(self) -> bool:
        """Tell whether the body is compressed: it may hold anything up to the limit."""
        return self.content_encoding not in {"", "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the model says about one image: every score, and the best five by name."""

    scores: Tensor
    top: tuple[tuple[int, str, float], ...]


T = TypeVar("T")
_MOST_PASSED: Final = 256
"""Jobs of other models that are looked past for one batch; the queue is locked meanwhile."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job(Generic[T]):
    """One image to classify, by which model, who waits for it, and until when."""

    model: ServedModel
    payload: ImagePayload | Tensor
    render: Callable[[Classification], T]
    deadline: Deadline
    enqueued_at: float
    future: asyncio.Future[T]
    loop: asyncio.AbstractEventLoop
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    abandoned: bool = False
    """Nobody waits any more; set by the queue, seen by a worker at its next step."""

    def resolve(self, answer: T) -> None:
        """Hand the answer to the event loop, from any thread."""
        self._call(lambda: self.future.set_result(answer))

    def reject(self, error: Exception) -> None:
        """Hand a failure to the event loop, from any thread."""
        self._call(lambda: self.future.set_exception(error))

    def _call(self, settle: Callable[[], None]) -> None:
        def settle_once() -> None:
            if not self.future.done():
                settle()

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(settle_once)


class JobQueue:
    """First in, first out; its length is bounded by admission, not here."""

    def __init__(self, clock: Callable[[], float], on_abandoned: Callable[[], None]) -> None:
        self._clock = clock
        self._on_abandoned = on_abandoned
        self._jobs: deque[Job[Any]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job[Any]) -> None:
        """Append one job."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def abandon(self, jobs: Sequence[Job[Any]]) -> None:
        """Forget jobs whose answer nobody waits for; those that are done do not mind."""
        for job in jobs:
            job.abandoned = True
        with self._changed:
            waiting = len(self._jobs)
            kept = [job for job in self._jobs if not job.abandoned]
            if len(kept) < waiting:
                self._jobs = deque(kept)
        for _ in range(waiting - len(kept)):
            self._on_abandoned()

    def take(self) -> list[Job[Any]]:
        """Wait for work; return jobs for one model that are still wanted, none when closed.

        As many as the model takes at once. Never waits to fill a batch: on a CPU that costs
        latency and wins next to nothing.
        """
        wanted: list[Job[Any]] = []
        # No name may keep a dropped job while this waits for the next one.
        while not wanted and self._wait():
            wanted = [job for job in self._pop() if self._still_wanted(job)]
        return wanted

    def close(self) -> None:
        """Let the workers finish what is queued and then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Return once there is work; false if there is none and never will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return bool(self._jobs)

    def _pop(self) -> list[Job[Any]]:
        """Return the first job, and those behind it that can share its forward pass."""
        with self._changed:
            if not self._jobs:
                return []
            batch = [self._jobs.popleft()]
            model = batch[0].model
            passed: list[Job[Any]] = []
            while self._jobs and len(batch) < model.max_batch and len(passed) < _MOST_PASSED:
                job = self._jobs.popleft()
                (batch if job.model is model else passed).append(job)
            self._jobs.extendleft(reversed(passed))
            return batch

    def _still_wanted(self, job: Job[Any]) -> bool:
        if job.abandoned:
            self._on_abandoned()
            return False
        if not job.deadline.expired(self._clock()):
            return True
        self._on_abandoned()
        job.reject(DeadlineExceededError("the deadline passed while the request was queued"))
        return False
