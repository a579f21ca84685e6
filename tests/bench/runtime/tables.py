"""Parts of pages in Markdown: tables, goals, times. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.runtime.goals import Goal


def build_goals(goals: Sequence[Goal]) -> str:
    """Return each goal beside what was measured."""

    def say(goal: Goal, value: float) -> str:
        if goal.percent:
            return f"{value:.1%}"
        return f"{value:.0f}" if goal.bound == 0 else f"{value:.2f}"

    rows = [
        (
            goal.what,
            f"{'≥' if goal.at_least else '≤'} {say(goal, goal.bound)}",
            say(goal, goal.value),
            "met" if goal.met else "**not met**",
        )
        for goal in goals
    ]
    return build_table(("", "Goal", "Measured", ""), rows)


def build_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, nothing if it has no rows."""
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(it)} |\n" for it in lines)


def say_seconds(seconds: float) -> str:
    """Return a time in a unit that suits it; an infinite one is "never"."""
    if math.isnan(seconds):
        return "not measured"
    if math.isinf(seconds):
        return "never"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def say_latencies(load: Mapping[str, Any]) -> str:
    """Return the median and the 99th percentile, and how many requests failed, if any did."""
    failed = f"; {load['failed'] / load['requests']:.0%} failed" if load["failed"] else ""
    return f"{say_seconds(load['p50'])}, {say_seconds(load['p99'])}{failed}"
