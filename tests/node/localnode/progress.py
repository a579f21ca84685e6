"""One line per step, with how long it took and an estimate of the time left.

Used by `ensure` and `create cluster`; writes to standard error so that output
stays parsable.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to make: done already, or made by `act` in about `seconds`."""

    name: str
    label: str
    seconds: int
    is_done: Callable[[], bool]
    act: Callable[[], None]


def format_duration(seconds: float) -> str:
    """Write a duration the way a person says it."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.1f}s"
    return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"


def format_left(seconds: float) -> str:
    """Write an estimate coarsely, since it is one."""
    if seconds <= 0:
        return "nothing left"
    if seconds < _MINUTE:
        return f"≈{round(seconds)} s left"
    return f"≈{round(seconds / _MINUTE)} min left"


def say(text: str, *, end: str = "\n") -> None:
    """Write to standard error at once, even into a file."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


def run_steps(steps: list[Step]) -> bool:
    """Run the steps that are not done, one line each; tell whether there were any."""
    pending = {step.name for step in steps if not step.is_done()}
    left = float(sum(step.seconds for step in steps if step.name in pending))
    if not pending:
        return False
    say(f"{len(pending)} of {len(steps)} parts to make ({format_left(left)})")
    for number, step in enumerate(steps, start=1):
        head = f"[{number}/{len(steps)}] {step.label} …"
        if step.name not in pending:
            say(f"{head} cached")
            continue
        say(head, end=" ")
        start = time.monotonic()
        try:
            step.act()
        except BaseException:
            say("failed")
            raise
        left -= step.seconds
        say(f"{format_duration(time.monotonic() - start)} ({format_left(left)})")
    return True
