"""One unit of work on its way from the event loop to a worker thread and back.

The event loop creates a job, waits for its future, and may abandon it; a worker thread resolves
it. An abandoned job is dropped when it is dequeued, before anything is computed for it.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from igw_runtime.errors import DeadlineExceededError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.serving.deadlines import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePayload:
    """A request body that has an image in it somewhere."""

    body: bytes
    content_type: str = ""
    content_encoding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the model says about one image: every score, and the best five by name."""

    scores: Tensor
    top: tuple[tuple[int, str, float], ...]


T = TypeVar("T")


@dataclass(slots=True, kw_only=True, eq=False)
class Job(Generic[T]):
    """One image to classify, who waits for it, and until when."""

    payload: ImagePayload | Tensor
    render: Callable[[Classification], T]
    deadline: Deadline
    enqueued_at: float
    future: asyncio.Future[T]
    loop: asyncio.AbstractEventLoop
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    abandoned: bool = False

    def abandon(self) -> None:
        """Say that nobody waits any more; seen by the worker at its next step."""
        self.abandoned = True

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

    def take(self, most: int) -> list[Job[Any]]:
        """Wait for work; return up to `most` jobs that are still wanted, none when closed.

        Never waits to fill a batch: on a CPU that costs latency and wins next to nothing.
        """
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs:
                    return []
                taken = [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]
            wanted = [job for job in taken if self._still_wanted(job)]
            if wanted:
                return wanted

    def close(self) -> None:
        """Let the workers finish what is queued and then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _still_wanted(self, job: Job[Any]) -> bool:
        if not job.abandoned and not job.deadline.expired(self._clock()):
            return True
        self._on_abandoned()
        job.reject(DeadlineExceededError("the deadline passed while the request was queued"))
        return False
