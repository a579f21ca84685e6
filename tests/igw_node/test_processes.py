"""Programs are started, recorded, and never confused with another of the same id."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from localnode.errors import NodeError
from localnode.processes import Process, Supervisor, parse_record, read_start_time, stop_process


def test_own_process_is_alive() -> None:
    """A running process is known by its id and start time."""
    started = read_start_time(os.getpid())

    assert started is not None
    assert Process(name="me", pid=os.getpid(), started=started).alive


def test_recycled_id_is_somebody_else() -> None:
    """The same id with another start time is not ours, and is left alone."""
    impostor = Process(name="old", pid=os.getpid(), started="1")

    assert not impostor.alive
    stop_process(impostor, timeout_seconds=0.1)


@pytest.mark.parametrize("text", ["", "12", "12 "], ids=["empty", "no time", "torn"])
def test_torn_record_stands_for_a_process_that_is_gone(text: str) -> None:
    """A record that was cut short ends nothing."""
    assert not parse_record("x", text).alive


def test_started_program_is_recorded_and_ended(tmp_path: Path) -> None:
    """Start, find again from another supervisor, stop."""
    supervisor = Supervisor(tmp_path)
    process = supervisor.start("sleeper", ["sleep", "60"])

    assert Supervisor(tmp_path).recorded() == [process]
    assert process.alive
    supervisor.stop(timeout_seconds=1)
    assert read_start_time(process.pid) != process.started
    assert Supervisor(tmp_path).recorded() == []


def test_stubborn_program_is_ended_by_force(tmp_path: Path) -> None:
    """A program that ignores the request does not outlive the patience."""
    supervisor = Supervisor(tmp_path)
    process = supervisor.start("stubborn", ["sh", "-c", "trap '' TERM; sleep 60"])
    supervisor.stop(timeout_seconds=0.2)

    assert not replace(process).alive


_STARTER = """
import pathlib, signal, sys
from localnode.processes import Supervisor
supervisor = Supervisor(pathlib.Path(sys.argv[1]), ends_with_us=sys.argv[2] == "True")
supervisor.start("x", ["sh", "-c", "echo started; exec sleep 60"])
while not supervisor.log_path("x").read_text():
    pass
print("started", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("ends_with_us", [True, False])
def test_a_program_ends_with_who_started_it_if_it_is_to(
    tmp_path: Path, *, ends_with_us: bool
) -> None:
    """A starter that is killed cleans nothing up; a node outlives the command that made it."""
    command = [sys.executable, "-c", _STARTER, str(tmp_path), str(ends_with_us)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        starter.kill()
    (program,) = Supervisor(tmp_path).recorded()
    deadline = time.monotonic() + (10 if ends_with_us else 0.5)
    while program.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert program.alive is not ends_with_us
    Supervisor(tmp_path).stop(timeout_seconds=1)


def test_log_explains_an_exit(tmp_path: Path) -> None:
    """The last lines of a program's log are part of the error."""
    supervisor = Supervisor(tmp_path)
    supervisor.log_path("x").parent.mkdir(parents=True)
    supervisor.log_path("x").write_text("flag --nonsense is unknown\n")

    assert "flag --nonsense" in str(NodeError(supervisor.explain_exit("x")))
