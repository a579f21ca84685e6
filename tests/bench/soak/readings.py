"""What a process takes, read from outside it once a second, and whether it still answers."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

HANG_SECONDS: Final = 10.0
_EVERY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at the process."""

    at: float
    """By `time.monotonic()`."""
    rss_mib: float
    files: int
    threads: int
    probe_seconds: float
    """How long a liveness probe took; one that has no answer takes `HANG_SECONDS`."""

    @classmethod
    def take(cls, pid: int, probe: str) -> Self:
        """Look now."""
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            at=time.monotonic(),
            rss_mib=int(status["VmRSS"].split()[0]) / 1024,
            files=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            threads=int(status["Threads"]),
            probe_seconds=_probe(probe),
        )


class Watch:
    """Looks at a process while the block runs."""

    def __init__(self, pid: int, probe: str) -> None:
        self._pid = pid
        self._probe = probe
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.began = time.monotonic()
        self.readings: list[Reading] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            self.readings.append(Reading.take(self._pid, self._probe))


def fit_slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much y grows for each x, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def _probe(url: str) -> float:
    began = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=HANG_SECONDS) as answer:  # noqa: S310  loopback
            answer.read()
    except OSError:
        return HANG_SECONDS
    return time.monotonic() - began
