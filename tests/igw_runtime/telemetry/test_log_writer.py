import io
import threading
import time
from collections.abc import Sequence

import pytest

from igw_runtime.settings import LoggingSettings
from igw_runtime.telemetry import log_writer
from igw_runtime.telemetry.log_budget import Dropped, DropReason, LogBudget
from igw_runtime.telemetry.log_writer import LogWriter
from runtime_kit.process import wait_until


class StalledStream(io.StringIO):
    """A pipe whose reader does not read until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = threading.Event()
        self.entered = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.reader.wait(10)
        return super().write(text)


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(text[:1])


class Rig:
    """A writer whose thread is not started: a test takes its steps, on a clock of its own."""

    def __init__(self, stream: io.StringIO | None = None, **settings: int) -> None:
        self.now = 0.0
        self.stream = stream or io.StringIO()
        self.budget = LogBudget(LoggingSettings.model_validate(settings), lambda: self.now)
        self.writer = LogWriter(self.stream, self.budget, render, lambda: self.now)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def render(dropped: Sequence[Dropped]) -> str:
    """Render a report as a test can read it."""
    return "; ".join(f"{d.level} {d.reason} {d.count} {d.size_bytes}" for d in dropped)


def test_lines_come_out_in_order() -> None:
    """The thread changes when lines are written, and nothing else."""
    rig = Rig()
    for number in range(5):
        rig.writer.write("info", f"line {number}")
    rig.writer._step()

    assert rig.lines() == [f"line {number}" for number in range(5)]


def test_one_line_says_what_was_dropped_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not sooner, not twice, and not at all if nothing was."""
    monkeypatch.setattr(log_writer, "_GATHER_SECONDS", 0)
    rig = Rig(maxBytesPerSecond=1)
    rig.writer.write("info", "x" * 70_000)
    rig.writer.write("info", "x" * 70_000)
    for now in (9.0, 10.0, 11.0, 20.0):
        rig.now = now
        rig.writer.write("error", f"at {now}")
        rig.writer._step()

    assert rig.lines() == ["at 9.0", "at 10.0", "info rate 2 140002", "at 11.0", "at 20.0"]


def test_stalled_reader_stalls_nobody() -> None:
    """Logging costs the same while nobody reads; what was kept arrives when somebody does."""
    stream = StalledStream()
    rig = Rig(stream, maxBytesPerSecond=0)
    rig.writer.start()
    rig.writer.write("error", "first")
    assert stream.entered.wait(5)
    started = time.monotonic()
    for _ in range(200):
        rig.writer.write("info", "x" * 50_000)
    rig.writer.write("error", "last words")
    assert time.monotonic() - started < 5, "the stream holds a writer for ten"
    drops = rig.budget.count_drops()["info", DropReason.UNREAD]
    assert drops == 200 - log_writer.MAX_WAITING_BYTES // 50_001

    stream.reader.set()
    rig.writer.close(5)
    lines = rig.lines()
    assert (lines[0], lines[-2]) == ("first", "last words")
    assert lines[-1] == f"info unread {drops} {drops * 50_001}"
    assert len(lines) == 3 + 200 - drops


def test_errors_are_kept_longer_but_not_for_ever() -> None:
    """Sixteen megabytes of them wait for a reader; memory without end is another error."""
    rig = Rig(StalledStream())
    for _ in range(40):
        rig.writer.write("error", "x" * (1 << 20))

    kept = log_writer.MAX_WAITING_ERROR_BYTES // ((1 << 20) + 1)
    assert rig.budget.count_drops() == {("error", DropReason.UNREAD): 40 - kept}


def test_end_waits_for_a_stalled_reader_only_so_long() -> None:
    """A log that nobody reads is no reason to miss the grace period."""
    stream = StalledStream()
    rig = Rig(stream)
    rig.writer.start()
    rig.writer.write("info", "never read")
    started = time.monotonic()
    rig.writer.close(0.05)

    assert time.monotonic() - started < 5
    stream.reader.set()


def test_stream_that_is_gone_is_survived() -> None:
    """A closed pipe ends the log, not the server."""
    rig = Rig(BrokenStream())
    rig.writer.start()
    rig.writer.write("error", "one")
    wait_until(rig.budget.count_drops, 5)
    rig.writer.write("error", "two")
    rig.writer.close(5)

    assert not rig.writer._thread.is_alive()


def test_lines_of_many_threads_stay_lines() -> None:
    """Nothing is lost, mixed or doubled."""
    rig = Rig(maxBytesPerSecond=0)
    rig.writer.start()

    def write(name: str) -> None:
        for number in range(500):
            rig.writer.write("info", f"{name}-{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.writer.close(5)

    lines = rig.lines()
    assert sorted(lines) == sorted(f"{name}-{n}" for name in "abcd" for n in range(500))
    assert [line for line in lines if line[0] == "a"] == [f"a-{n}" for n in range(500)]
