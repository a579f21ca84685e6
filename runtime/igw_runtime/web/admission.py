"""Who may enter: every bound that can be checked is checked before a body is read.

Runs on the event loop only, so it needs no locks. The order of the checks is part of the
interface (docs/runtime.md): state, size, queue, bytes, deadline.
"""

import asyncio
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from starlette.types import Receive

from igw_runtime.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
    DeadlineUnreachableError,
    MalformedRequestError,
    NoBodyError,
    QueueFullError,
)
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.serving.lifecycle import Lifecycle
from igw_runtime.settings import ServingSettings

_MAX_RETRY_SECONDS: Final = 30
_MAX_LENGTH_DIGITS: Final = 18  # an exabyte is too large whatever follows


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLoad:
    """What admission needs to know of the workers to estimate a wait."""

    workers: int
    mean_seconds: float


class Ticket:
    """The right to occupy the queue; give it back with `with`."""

    def __init__(self, admission: "Admission", reserved_bytes: int) -> None:
        self._admission = admission
        self._bytes = reserved_bytes
        self._slots = 1

    def hold(self, images: int, size_bytes: int) -> None:
        """Occupy what the request turned out to hold, once its body was read and parsed."""
        self._admission.reserve(images - self._slots, size_bytes - self._bytes)
        self._slots, self._bytes = images, size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.release(self._slots, self._bytes)


class Admission:
    """The door of the queue."""

    def __init__(
        self,
        settings: ServingSettings,
        lifecycle: Lifecycle,
        read_load: Callable[[], WorkerLoad],
    ) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._read_load = read_load
        self._slots = 0
        self._bytes = 0

    @property
    def in_system(self) -> int:
        """Return how many images are admitted and unanswered."""
        return self._slots

    @property
    def capacity(self) -> int:
        """Return how many images there is room for when nobody else is here."""
        return self._settings.max_queue + self._read_load().workers

    @property
    def fair_share(self) -> int:
        """Return how many bytes each request may have if all places are taken."""
        settings = self._settings
        return max(1, min(settings.max_body_bytes, settings.max_queue_bytes // self.capacity))

    def admit(self, content_length: int | None, deadline: Deadline, now: float) -> Ticket:
        """Return a ticket, or raise the first reason not to."""
        self._lifecycle.check_accepting()
        limit = self._settings.max_body_bytes
        if content_length is not None and content_length > limit:
            message = f"the body has {content_length} bytes; at most {limit} are accepted"
            raise BodyTooLargeError(message)
        if content_length == 0:
            message = "the request has no body; send an image"
            raise NoBodyError(message)
        reserved = limit if content_length is None else content_length
        self._check_room(reserved)
        self._check_wait(deadline, now)
        self._slots += 1
        self._bytes += reserved
        return Ticket(self, reserved)

    def is_impatience(self, deadline: Deadline, promised_seconds: float | None) -> bool:
        """Tell whether a deadline that is missed was the client's own affair.

        It is if the request had less time than is promised to all, and the promise is kept, as
        far as can be told from here: with too long a queue or too slow a model it is not.
        """
        if promised_seconds is None or deadline.given >= promised_seconds:
            return False
        return self._estimate_wait() + self._read_load().mean_seconds <= promised_seconds

    def reserve(self, slots: int, size_bytes: int) -> None:
        """Change what is taken by this much; only more of something can be refused."""
        too_many = slots > 0 and self._slots + slots > self.capacity
        too_large = size_bytes > 0 and self._bytes + size_bytes > self._settings.max_queue_bytes
        # One request always fits, however small the byte budget was made.
        if too_many or (too_large and self._slots > 1):
            raise self._full()
        self._slots += slots
        self._bytes += size_bytes

    def release(self, slots: int, reserved_bytes: int) -> None:
        """Give back what a ticket held."""
        self._slots -= slots
        self._bytes -= reserved_bytes

    def _check_room(self, reserved: int) -> None:
        if self._slots >= self.capacity:
            raise self._full()
        # One body always fits, however small the byte budget was made.
        if self._slots and self._bytes + reserved > self._settings.max_queue_bytes:
            raise self._full()

    def _check_wait(self, deadline: Deadline, now: float) -> None:
        wait = self._estimate_wait()
        if wait > deadline.remaining(now):
            message = f"the queue alone takes about {wait:.1f} s; the deadline is earlier"
            raise DeadlineUnreachableError(message, headers=_retry_after(wait))

    def _estimate_wait(self) -> float:
        load = self._read_load()
        ahead = max(0, self._slots - load.workers + 1)
        return ahead * load.mean_seconds / max(1, load.workers)

    def _full(self) -> QueueFullError:
        message = f"{self._slots} requests are already waiting; retry later or elsewhere"
        return QueueFullError(message, headers=_retry_after(self._estimate_wait()))


def parse_content_length(header: str | None) -> int | None:
    """Return the announced size; None when the body is chunked."""
    if header is None:
        return None
    if not header.isascii() or not header.isdigit():
        message = "Content-Length is not a number"
        raise MalformedRequestError(message)
    return int(header[:_MAX_LENGTH_DIGITS])


async def read_body(
    receive: Receive, limit_bytes: int, seconds: float, *, required: bool = True
) -> bytes:
    """Read a whole body, bounded in size and time."""
    # Of what grows, the one that is bytes already: megabytes are not copied again at the end.
    body = io.BytesIO()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    gone = "the client hung up while sending"
                    raise ClientGoneError(gone)
                body.write(message.get("body", b""))
                if body.tell() > limit_bytes:
                    large = f"the body has more than the accepted {limit_bytes} bytes"
                    raise BodyTooLargeError(large)
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        slow = f"the body did not arrive within {seconds:g} s"
        raise BodyTimeoutError(slow) from error
    if required and not body.tell():
        empty = "the request has no body; send an image"
        raise NoBodyError(empty)
    return body.getvalue()


def _retry_after(wait_seconds: float) -> dict[str, str]:
    return {"Retry-After": str(min(_MAX_RETRY_SECONDS, max(1, math.ceil(wait_seconds))))}
