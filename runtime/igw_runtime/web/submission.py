"""From an admitted request to its answer: read the body, queue jobs, wait for the first of three.

The three are the answer, the deadline, and the client hanging up. Whatever ends the wait, work
that nobody waits for leaves the queue, and a worker that has begun it drops it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope

from igw_runtime.errors import ClientGoneError, DeadlineExceededError, RequestError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.deadlines import Deadline, parse_timeout
from igw_runtime.serving.jobs import Classification, ImagePayload, Job, JobQueue
from igw_runtime.settings import ServingSettings
from igw_runtime.telemetry.metrics import Metrics
from igw_runtime.web.admission import Admission, Ticket, parse_content_length, read_body
from igw_runtime.web.exchange import get_exchange, read_headers, receive_nothing

T = TypeVar("T")
# From here on texts are parsed one at a time. Numbers become Python objects, thirty times what they
# were, and the interpreter is locked while they are made: probes would wait for all of them.
LARGE_TEXT_BYTES: Final = 1 << 20
_INLINE_EFFORT: Final = 16_384  # JSON takes about 10 ns a byte, and a thread 100 us
COPY_EFFORT: Final = 16  # how many bytes are copied and looked at in the time of one of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a route needs to have images classified."""

    settings: ServingSettings
    admission: Admission
    queue: JobQueue
    metrics: Metrics
    clock: Callable[[], float]
    large_texts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    def choose_deadline(self, wish: str | None, started: float) -> Deadline:
        """Return when a request ends: `wish` is its `X-Request-Timeout-Ms`."""
        seconds = parse_timeout(wish, self.settings.timeout_seconds)
        return Deadline(started + seconds, seconds)

    def admit(self, scope: Scope) -> tuple[Ticket, Deadline]:
        """Check every bound that needs no body."""
        headers = read_headers(scope)
        exchange = get_exchange(scope)
        deadline = self.choose_deadline(headers.get("x-request-timeout-ms"), exchange.started)
        exchange.deadline = deadline
        length = parse_content_length(headers.get("content-length"))
        if "transfer-encoding" in headers:
            length = None  # it overrides a Content-Length (RFC 9112, 6.3)
        elif length is None:
            length = 0
        return self.admission.admit(length, deadline, self.clock()), deadline

    async def read_payload(self, scope: Scope, receive: Receive) -> ImagePayload:
        """Read the body of an admitted request."""
        headers = read_headers(scope)
        started = self.clock()
        body = await read_body(
            receive, self.settings.max_body_bytes, self.settings.body_timeout_seconds
        )
        get_exchange(scope).body_read = True
        self.metrics.models.read_seconds.observe(self.clock() - started)
        return ImagePayload(
            body=body,
            content_type=headers.get("content-type", ""),
            content_encoding=headers.get("content-encoding", ""),
        )

    async def parse(
        self, work: Callable[[], T], *, effort: int, text_bytes: int, deadline: Deadline
    ) -> T:
        """Parse a request's content; large texts (JSON, numbers one by one) take turns."""
        if text_bytes < LARGE_TEXT_BYTES:
            return await off_loop(work, effort)
        async with self.large_texts:
            if deadline.expired(self.clock()):
                message = "the deadline passed while the request waited to be parsed"
                raise DeadlineExceededError(message)
            return await asyncio.to_thread(work)

    async def classify(
        self,
        model: ServedModel,
        payloads: Sequence[ImagePayload | Tensor],
        render: Callable[[Classification], T],
        deadline: Deadline,
        receive: Receive | None,
    ) -> list[T]:
        """Queue one job for each image and wait for all of them.

        Without `receive` the caller is cancelled when its client leaves.
        """
        loop = asyncio.get_running_loop()
        jobs: list[Job[T]] = [
            Job(
                model=model,
                payload=payload,
                render=render,
                deadline=deadline,
                enqueued_at=self.clock(),
                future=loop.create_future(),
                loop=loop,
            )
            for payload in payloads
        ]
        for job in jobs:
            self.queue.put(job)
        try:
            return await self._wait(jobs, deadline, receive)
        except RequestError as error:
            raise _name_culprit(error, jobs) from error
        finally:
            self.queue.abandon(jobs)

    async def _wait(
        self, jobs: Sequence[Job[T]], deadline: Deadline, receive: Receive | None
    ) -> list[T]:
        answers = asyncio.gather(*(job.future for job in jobs))
        # Else asyncio logs an error for each wait that ends without its answer.
        answers.add_done_callback(_retrieve)
        gone = receive_nothing(receive) if receive else asyncio.Event().wait()
        hangup: asyncio.Task[Any] = asyncio.create_task(gone)
        waits: set[asyncio.Future[Any]] = {answers, hangup}
        try:
            done, _ = await asyncio.wait(
                waits,
                timeout=deadline.remaining(self.clock()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answers in done:
                return answers.result()
        finally:
            hangup.cancel()
            answers.cancel()
        if hangup in done:
            message = "the client hung up while waiting"
            raise ClientGoneError(message)
        message = "the answer was not ready before the deadline"
        raise DeadlineExceededError(message)


async def off_loop(work: Callable[[], T], effort: int) -> T:
    """Run work in a thread, unless it takes less time than the way to the thread and back.

    `effort` is about how many bytes of JSON it has to read or write; copied bytes count less.
    """
    return work() if effort <= _INLINE_EFFORT else await asyncio.to_thread(work)


def keep(result: Classification) -> Classification:
    """Render nothing: for protocols whose answer is made of all images at once."""
    return result


def _name_culprit(error: RequestError, jobs: Sequence[Job[Any]]) -> RequestError:
    """Say which image of several it was."""
    if len(jobs) > 1:
        for number, job in enumerate(jobs):
            done = job.future.done() and not job.future.cancelled()
            if done and job.future.exception() is error:
                return type(error)(f"image {number}: {error}", headers=error.headers)
    return error


def _retrieve(answers: asyncio.Future[Any]) -> None:
    if not answers.cancelled():
        answers.exception()
