"""A load from a process of its own, so that who measures takes no time from who generates.

Used as a context manager: within the block the load is on its way and something may happen to the
server; `wait` or `stop` return what became of all requests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.load import Load, Report, find_address

_GENERATOR: Final = Path(__file__).with_name("load.py")


class Running:
    """A load on its way, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout
        self.began = float(_check_output(self._output.readline()))
        """By `time.monotonic()`."""

    def wait(self) -> Report:
        """Wait until all was sent, and answered or given up."""
        *_, last = _check_output(self._output.read()).splitlines()
        return Report.from_json(last)

    def stop(self) -> Report:
        """Send nothing more, and wait for the answers that are still out."""
        self._process.terminate()
        return self.wait()


@contextmanager
def running(load: Load) -> Iterator[Running]:
    """Send a load while the block runs; the process ends with it in any case."""
    find_address(load.url)  # refused here, rather than in the traceback of another process
    process = subprocess.Popen(
        [sys.executable, "-I", str(_GENERATOR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(load.to_json() + "\n")
        process.stdin.flush()
        yield Running(process)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def send(load: Load) -> Report:
    """Send a load from a process of its own and wait for it."""
    with running(load) as on_its_way:
        return on_its_way.wait()


def _check_output(text: str) -> str:
    assert text, "the load generator failed; see its traceback"
    return text
