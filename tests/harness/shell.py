"""Run programs and tell people what happens, in few lines.

Used by the demo, the end-to-end tests and the platform set-up; nothing here knows
Kubernetes.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[2]
ResultT = TypeVar("ResultT")


class CommandError(RuntimeError):
    """A program ended badly; the message holds the command and what it said."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | bytes | None = None,
    timeout_seconds: float = 120,
) -> str:
    """What the program printed.

    Raises:
        CommandError: it exited with another code than 0, or took too long.
    """
    words = [str(word) for word in command]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(
            words, input=data, capture_output=True, check=False, timeout=timeout_seconds, cwd=ROOT
        )
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(words)} took more than {timeout_seconds:g} s"
        raise CommandError(message) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        message = f"{' '.join(words)} exited with {done.returncode}: {said[-2000:]}"
        raise CommandError(message)
    return done.stdout.decode(errors="replace")


def stream(command: Sequence[str | Path]) -> None:
    """Run a program whose output the person sees as it comes.

    Raises:
        CommandError: it exited with another code than 0.
    """
    words = [str(word) for word in command]
    code = subprocess.run(words, check=False, cwd=ROOT).returncode
    if code:
        message = f"{' '.join(words)} exited with {code}"
        raise CommandError(message)


def say(text: str = "", *, indent: int = 0) -> None:
    """One line for the person at the terminal."""
    sys.stdout.write(textwrap.indent(text, "  " * indent) + "\n")
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """A titled step; says how long it took."""
    say(f"\n▸ {title}")
    start = time.monotonic()
    yield
    say(f"✓ {time.monotonic() - start:.1f} s", indent=1)


def wait_for(
    what: str,
    probe: Callable[[], ResultT | None],
    *,
    timeout_seconds: float,
    every_seconds: float = 0.5,
) -> ResultT:
    """The first result of ``probe`` that is neither None nor False.

    Raises:
        TimeoutError: none came in time; the message says what was waited for.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        result = probe()
        if result is not None and result is not False:
            return result
        if time.monotonic() > deadline:
            message = f"waited {timeout_seconds:g} s for {what}"
            raise TimeoutError(message)
        time.sleep(every_seconds)
