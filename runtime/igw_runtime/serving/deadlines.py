"""How long one request may take, as a point in time that everybody can compare with.

Made once, at the request's first byte; carried through admission, queue and worker.
"""

import math
from dataclasses import dataclass

from igw_runtime.errors import MalformedRequestError

MAX_HEADER_MILLISECONDS = 3_600_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock."""

    at: float
    given: float = math.inf
    """How many seconds the request had in all."""

    def remaining(self, now: float) -> float:
        """Return the seconds left, never less than zero."""
        return max(0.0, self.at - now)

    def expired(self, now: float) -> bool:
        """Tell whether nobody waits any more."""
        return now >= self.at

    def earlier(self, at: float) -> "Deadline":
        """Return the stricter of this and another moment."""
        return self if self.at <= at else Deadline(at, self.given - (self.at - at))


def parse_timeout(header: str | None, default_seconds: float) -> float:
    """Return the seconds a request may take: the client's wish, capped by the server's limit."""
    if header is None:
        return default_seconds
    if not header.isascii() or not header.isdigit() or len(header) > 8:  # noqa: PLR2004
        message = "X-Request-Timeout-Ms must be a whole number of milliseconds"
        raise MalformedRequestError(message)
    milliseconds = int(header)
    if not 1 <= milliseconds <= MAX_HEADER_MILLISECONDS:
        message = f"X-Request-Timeout-Ms must be between 1 and {MAX_HEADER_MILLISECONDS}"
        raise MalformedRequestError(message)
    return min(milliseconds / 1000, default_seconds)
