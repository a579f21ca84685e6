"""Runs short commands, and turns their failure into an error that shows what they said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

from localnode.errors import NodeError

_SAID_CHARACTERS = 2000


def run(
    command: Sequence[str], *, text_in: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a command that must succeed and return its output; `env` adds to the environment."""
    _require(command[0])
    done = subprocess.run(
        command,
        input=text_in,
        env=os.environ | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-_SAID_CHARACTERS:]
        message = f"'{' '.join(command[:6])}' failed with status {done.returncode}: {said}"
        raise NodeError(message)
    return done.stdout


def run_and_show(
    command: Sequence[str],
    show: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command that must succeed, and hand over each line of what it says at once."""
    _require(command[0])
    with subprocess.Popen(
        command,
        env=os.environ | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            show(line.rstrip("\n"))
    if process.returncode:
        message = f"'{' '.join(command[:6])}' failed with status {process.returncode}; see above"
        raise NodeError(message)


def _require(program: str) -> None:
    if shutil.which(program) is None:
        message = f"{program} is missing; run 'tests/node/kind ensure --only packages'"
        raise NodeError(message)


def succeeds(command: Sequence[str]) -> bool:
    """Run a command whose failure is an answer."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
