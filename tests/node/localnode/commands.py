"""Runs short commands, and turns their failure into an error that shows what they said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

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


def run_visibly(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
    """Run a command that must succeed and show what it says, as it says it."""
    _require(command[0])
    done = subprocess.run(
        command,
        env=os.environ | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        message = f"'{' '.join(command[:6])}' failed with status {done.returncode}; see above"
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
