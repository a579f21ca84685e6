"""How much may be logged: a share of the requests by level, and bytes a second; errors always.

Decides only; `telemetry.logs` asks it for each line and `telemetry.log_writer` says what became
of the line. Everything that is dropped is counted, by level and reason.
"""

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from igw_runtime.settings import LoggingSettings

LEVELS: Final[Mapping[str, int]] = {
    "debug": 10,
    "info": 20,
    "warning": 30,
    "error": 40,
    "critical": 50,
}
BURST_SECONDS: Final = 2.0
MIN_BURST_BYTES: Final = 65_536
"""What may be written at once after silence: a line of any sane length fits."""
_SAMPLED: Final = frozenset({"debug", "info", "warning"})
_HASHES: Final = 1 << 32


class DropReason(StrEnum):
    """Why a line was not written."""

    SAMPLING = "sampling"
    """Its request is not among those that are logged at this level."""
    RATE = "rate"
    """The bytes of this second were used up."""
    UNREAD = "unread"
    """Nobody reads the log, and as much as is kept for when somebody does again is waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What was dropped of one level for one reason; bytes of a line never rendered count 0."""

    level: str
    reason: DropReason
    count: int
    size_bytes: int


def must_keep(level: str) -> bool:
    """Tell whether lines of a level are written whatever the budget says."""
    return LEVELS.get(level, 0) >= LEVELS["error"]


class LogBudget:
    """The live decision for each line; safe to ask from any thread."""

    def __init__(
        self, settings: LoggingSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        # Reentrant: the garbage collector may run in here, and asyncio logs from finalizers.
        self._lock = threading.RLock()
        self._settings = settings
        self._tokens = self._burst()
        self._filled_at = clock()
        self._counts: Counter[tuple[str, DropReason]] = Counter()
        self._bytes: Counter[tuple[str, DropReason]] = Counter()
        self._reported: tuple[Counter[tuple[str, DropReason]], Counter[tuple[str, DropReason]]] = (
            Counter(),
            Counter(),
        )

    def apply(self, settings: LoggingSettings) -> None:
        """Take over live settings; the next line sees them."""
        with self._lock:
            self._refill()
            self._settings = settings
            self._tokens = min(self._tokens, self._burst())

    def samples(self, level: str, request_id: str | None) -> bool:
        """Tell whether a request's lines of this level are wanted: all of them, or none.

        What belongs to no request (start, settings, libraries) is not sampled.
        """
        if request_id is None or must_keep(level):
            return True
        sampling = self._settings.sampling_percent
        percent: float = getattr(sampling, level) if level in _SAMPLED else 100.0
        if zlib.crc32(request_id.encode()) * 100 < percent * _HASHES:
            return True
        self.note_drop(level, 0, DropReason.SAMPLING)
        return False

    def admits(self, level: str, size_bytes: int) -> bool:
        """Take a line's bytes from the budget; false if there are not enough left."""
        with self._lock:
            if not self._settings.max_bytes_per_second:
                return True
            self._refill()
            kept = must_keep(level)
            if size_bytes > self._tokens and not kept:
                return False
            self._tokens = max(0.0, self._tokens - size_bytes)
            return True

    def note_drop(self, level: str, size_bytes: int, reason: DropReason) -> None:
        """Count a line that is not written."""
        with self._lock:
            self._counts[level, reason] += 1
            self._bytes[level, reason] += size_bytes

    def count_drops(self) -> Mapping[tuple[str, DropReason], int]:
        """Return how many lines were ever dropped, by level and reason."""
        with self._lock:
            return dict(self._counts)

    def take_report(self) -> list[Dropped]:
        """Return what was dropped since the last report, but for what was not asked for."""
        with self._lock:
            counts, sizes = self._reported
            report = [
                Dropped(
                    level=level,
                    reason=reason,
                    count=count - counts[level, reason],
                    size_bytes=self._bytes[level, reason] - sizes[level, reason],
                )
                for (level, reason), count in sorted(self._counts.items())
                if reason is not DropReason.SAMPLING and count > counts[level, reason]
            ]
            self._reported = (self._counts.copy(), self._bytes.copy())
            return report

    def _refill(self) -> None:
        now = self._clock()
        earned = (now - self._filled_at) * self._settings.max_bytes_per_second
        self._tokens = min(self._burst(), self._tokens + earned)
        self._filled_at = now

    def _burst(self) -> float:
        return max(self._settings.max_bytes_per_second * BURST_SECONDS, float(MIN_BURST_BYTES))
