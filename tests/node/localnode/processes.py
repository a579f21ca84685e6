"""Starts the node's long-running programs and ends them again, and nothing else.

Each is recorded with its start time, so a recycled process id is never taken for
one of ours. Used by `controlplane`, `node` and `cleanup`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localnode.errors import NodeError

_POLL_SECONDS: Final = 0.05
_LOG_TAIL_LINES: Final = 12
# Of util-linux; prctl(2) by hand would need code between fork and exec. KILL, because an API server
# without its etcd does not end at TERM.
_ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program that was started: its id, and when, in the kernel's own clock ticks."""

    name: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Tell whether that very process still runs; a zombie does not."""
        return read_start_time(self.pid) == self.started


def read_start_time(pid: int) -> str | None:
    """Return the kernel's start time of a running process, None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields after the command, which is in brackets and may hold anything:
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in "ZX" else started


class Supervisor:
    """The programs of one folder: `logs/NAME.log`, and `pids/NAME` with id and start time.

    With `ends_with_us` the kernel ends them when this process ends, in whatever way.
    """

    def __init__(self, folder: Path, *, ends_with_us: bool = False) -> None:
        self._prefix = _ENDS_WITH_US if ends_with_us else ()
        self._logs = folder / "logs"
        self._pids = folder / "pids"
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        """Start a program in a session of its own, with its output in its log."""
        self._logs.mkdir(parents=True, exist_ok=True)
        self._pids.mkdir(parents=True, exist_ok=True)
        with self.log_path(name).open("ab") as log:
            child = subprocess.Popen(
                [*self._prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (env or {}),
                start_new_session=True,
                cwd="/",
            )
        self._children[name] = child
        started = read_start_time(child.pid)
        if started is None:
            raise NodeError(self.explain_exit(name))
        (self._pids / name).write_text(f"{child.pid} {started}\n")
        return Process(name=name, pid=child.pid, started=started)

    def log_path(self, name: str) -> Path:
        """Return where a program's output goes."""
        return self._logs / f"{name}.log"

    def explain_exit(self, name: str) -> str:
        """Say that a program ended, with the end of its log."""
        path = self.log_path(name)
        lines = path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return f"{name} ended by itself; its log is {path}:\n  " + "\n  ".join(lines)

    def recorded(self) -> list[Process]:
        """List the programs that were started, in that order, whether alive or not."""
        if not self._pids.is_dir():
            return []
        files = sorted(self._pids.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [parse_record(path.name, path.read_text()) for path in files]

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End every recorded program, the last one first; the slow ones by force."""
        for process in reversed(self.recorded()):
            self.stop_one(process, timeout_seconds)

    def stop_one(self, process: Process, timeout_seconds: float) -> None:
        """End one recorded program and forget it."""
        stop_process(process, timeout_seconds)
        if child := self._children.pop(process.name, None):
            child.wait()
        (self._pids / process.name).unlink(missing_ok=True)


def parse_record(name: str, text: str) -> Process:
    """Read what `start` recorded; a torn file stands for a process that is gone."""
    pid, _, started = text.strip().partition(" ")
    return Process(name=name, pid=int(pid or 0), started=started or "never")


def stop_process(process: Process, timeout_seconds: float) -> None:
    """Ask a process to end, then end it; do nothing if it is another one by now."""
    for number, patience in ((signal.SIGTERM, timeout_seconds), (signal.SIGKILL, 5.0)):
        if not process.alive:
            break
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while process.alive and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
