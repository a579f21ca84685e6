"""A load from a process of its own, so that who measures takes no time from who generates.

Used as a context manager: within the block the load is on its way and something may happen to the
server; `wait` or `stop` return what became of all requests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
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


def send_split(load: Load, generators: int) -> Report:
    """Send a load from several processes at once: one alone may be slower than a fast server.

    The report is that of all; its `cpu_seconds` are those of the busiest.
    """
    with ExitStack() as stack:
        parts = split_load(load, generators)
        return join_reports([it.wait() for it in [stack.enter_context(running(p)) for p in parts]])


def split_load(load: Load, parts: int) -> list[Load]:
    """Return loads that are this one together; several Poisson processes are one again."""
    parts = min(parts, load.clients) if load.clients else parts
    return [
        replace(
            load,
            rate=load.rate / parts,
            clients=load.clients // parts + (number < load.clients % parts),
            seed=load.seed + 1000 * number,
            bodies=_turn(load.bodies, number),
        )
        for number in range(parts)
    ]


def _turn(bodies: Sequence[bytes], by: int) -> list[bytes]:
    by %= len(bodies)
    return [*bodies[by:], *bodies[:by]]


def join_reports(reports: Sequence[Report]) -> Report:
    """Return one report of loads that were sent together."""
    return Report(
        began=min(it.began for it in reports),
        seconds=min(it.seconds for it in reports),
        cpu_seconds=max(it.cpu_seconds for it in reports),
        samples=sorted(sample for it in reports for sample in it.samples),
    )


def _check_output(text: str) -> str:
    assert text, "the load generator failed; see its traceback"
    return text
