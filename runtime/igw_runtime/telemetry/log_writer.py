"""The thread that writes the log: a reader that stalls must stall no request.

Who logs hands in a line and goes on; lines wait here, bounded, until the stream takes them. What
the budget or the bound refuses is counted, and said in one line every ten seconds.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TextIO

from igw_runtime.telemetry.log_budget import Dropped, DropReason, LogBudget, must_keep

REPORT_SECONDS: Final = 10.0
MAX_WAITING_BYTES: Final = 4 << 20
MAX_WAITING_ERROR_BYTES: Final = 16 << 20
"""Errors are kept for much longer; without any bound, a reader that is gone is an OOM kill."""
# A wake-up of the thread costs a request more than writing its lines: they are gathered for a
# moment, but for errors, which may be the last words.
_GATHER_SECONDS: Final = 0.02
_GATHER_BYTES: Final = 65_536

RenderReport = Callable[[Sequence[Dropped]], str]


class LogWriter:
    """Writes lines to a stream in the order in which they came."""

    def __init__(
        self,
        stream: TextIO,
        budget: LogBudget,
        render_report: RenderReport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._render_report = render_report
        self._clock = clock
        self._reported_at = clock()
        self._lines: deque[str] = deque()
        self._waiting_bytes = 0
        self._urgent = False
        self._closing = False
        self._changed = threading.Condition()  # reentrant, as the budget's lock is
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def write(self, level: str, line: str) -> None:
        """Take one line, or drop it and count that; never waits for the stream."""
        size = len(line.encode()) + 1
        if not self._budget.admits(level, size):
            self._budget.note_drop(level, size, DropReason.RATE)
            return
        keep = must_keep(level)
        with self._changed:
            bound = MAX_WAITING_ERROR_BYTES if keep else MAX_WAITING_BYTES
            fits = self._waiting_bytes + size <= bound
            if fits:
                self._lines.append(line)
                self._waiting_bytes += size
                self._urgent = self._urgent or keep or self._waiting_bytes > _GATHER_BYTES
                if len(self._lines) == 1 or self._urgent:
                    self._changed.notify()
        if not fits:
            self._budget.note_drop(level, size, DropReason.UNREAD)

    def close(self, timeout_seconds: float) -> None:
        """Write what is waiting, for a bounded time, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Write what has gathered, and report what was dropped; false once all is done."""
        lines, size, closing = self._gather()
        due = closing or self._clock() - self._reported_at >= REPORT_SECONDS
        report = self._budget.take_report() if due else []
        if due:
            self._reported_at = self._clock()
        if report:
            lines.append(self._render_report(report))
        if lines:
            self._put_out(lines, size)
        return not closing

    def _gather(self) -> tuple[list[str], int, bool]:
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing, REPORT_SECONDS)
            if self._lines:
                self._changed.wait_for(lambda: self._urgent or self._closing, _GATHER_SECONDS)
            lines = list(self._lines)
            self._lines.clear()
            self._urgent = False
            # What was taken before is written: all that waits is in these lines.
            return lines, self._waiting_bytes, self._closing

    def _put_out(self, lines: Sequence[str], waiting_bytes: int) -> None:
        text = "".join(f"{line}\n" for line in lines)
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The stream is gone, and with it the only place to say so.
            self._budget.note_drop("info", len(text.encode()), DropReason.UNREAD)
        with self._changed:
            # Only now: what the stream has not taken yet is memory, too.
            self._waiting_bytes -= waiting_bytes
