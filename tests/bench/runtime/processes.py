"""A server under measurement: its processes, however many it starts, and what they cost.

A server's processes may leave its session, and its parent may end before them; all of them keep a
mark in their environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.load import Load
from bench.runtime.contestants import Contestant, Launch
from fleet.vitals import cpu_seconds
from runtime_kit.process import fetch

PATIENCE_SECONDS: Final = 5.0
"""After this long the generator gives an answer up, and hangs up."""
_MIB: Final = 1024
READY_SECONDS: Final = 120.0
_OK: Final = 200
_MARK: Final = "BENCH_RUN"


class StartError(Exception):
    """A server did not come up; the message is the end of what it said."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A server that answers, with all its processes."""

    contestant: Contestant
    launch: Launch
    process: subprocess.Popen[bytes]
    bodies: Sequence[bytes]
    headers: dict[str, str]
    log: Path
    mark: str
    ready_seconds: float = 0.0

    def plan(
        self,
        *,
        seconds: float,
        rate: float = 0,
        clients: int = 0,
        seed: int = 0,
        fresh_ratio: float = 0,
    ) -> Load:
        """Return a load of pictures for this server."""
        return Load(
            url=self.launch.url,
            bodies=self.bodies,
            headers=self.headers,
            seconds=seconds,
            rate=rate,
            clients=clients,
            seed=seed,
            fresh_ratio=fresh_ratio,
            timeout_seconds=PATIENCE_SECONDS,
        )

    def cpu_seconds(self) -> float:
        """Return the processor time of all processes so far."""
        return sum(_or_zero(cpu_seconds, pid) for pid in self.pids())

    def memory_mib(self) -> float:
        """Return the memory of all processes, what they share counted once (PSS)."""
        return sum(_or_zero(read_pss_mib, pid) for pid in self.pids())

    def pids(self) -> list[int]:
        """Return all processes that came of the server's start."""
        mark = self.mark.encode()
        return [
            int(it.name)
            for it in Path("/proc").iterdir()
            if it.name.isdigit() and mark in _read_environment(it)
        ]

    def end(self) -> None:
        """Kill whatever is left, also what was started meanwhile."""
        while pids := self.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.process.wait()

    def explain(self) -> str:
        """Return the end of what it said."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(line[:200] for line in lines[-15:])


@contextmanager
def started(
    contestant: Contestant,
    folder: Path,
    pictures: Sequence[bytes],
    *,
    within_seconds: float = READY_SECONDS,
) -> Iterator[Server]:
    """Start a server, wait until it has answered a picture, and end it in any case."""
    folder.mkdir(parents=True)
    launch = contestant.prepare(folder)
    packed = [contestant.pack(it) for it in pictures]
    log, mark = folder / "server.log", f"{_MARK}={uuid.uuid4()}"
    began = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            launch.command,
            env={**os.environ, **launch.environment, _MARK: mark.partition("=")[2]},
            cwd=folder,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    server = Server(
        contestant=contestant,
        launch=launch,
        process=process,
        bodies=[it.body for it in packed],
        headers={**packed[0].headers, **(contestant.headers or {})},
        log=log,
        mark=mark,
    )
    try:
        _wait_ready(server, began, within_seconds)
        yield server
    finally:
        server.end()


def _wait_ready(server: Server, began: float, within_seconds: float) -> None:
    """Ready is who has classified a picture; pictures are sent once a probe says so.

    Some servers hold a request that comes too early until it times out.
    """
    launch = server.launch
    ready = f"http://127.0.0.1:{launch.port}{launch.ready}"
    while time.monotonic() < began + within_seconds:
        if fetch(ready)[0] == _OK:
            status, _ = fetch(launch.url, server.bodies[0], server.headers)
            if status == _OK:
                server.ready_seconds = time.monotonic() - began
                return
        if server.process.poll() is not None:
            break
        time.sleep(0.025)
    code = server.process.poll()
    what = f"not ready in {within_seconds:.0f} s" if code is None else f"ended with {code}"
    message = f"{what}\n{server.explain()}".strip()
    raise StartError(message)


def _or_zero(read: Callable[[int], float], pid: int) -> float:
    try:
        return read(pid)
    except (OSError, IndexError):
        return 0.0  # it has just ended


def _read_environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""  # it has just ended


def read_pss_mib(pid: int) -> float:
    """Return a process's memory, its part of what it shares with others included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / _MIB
    return 0.0
