"""The table, for people: on the terminal, and in ``docs/benchmarks/slo.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Row = Sequence[str]

GOAL_POINTS: Final = 0.1

_HEADING: Final = """\
# Benchmark of the SLO rules

Written by `make bench-slo`; do not edit. The numbers are in [slo.json](slo.json).

Each scenario is {days} days of a service with an objective of 99.5 % availability and 99 % of
answers within 300 ms over 30 days, played second by second. Its pods' counters are scraped
every 30 s, and Prometheus {prometheus} evaluates over that time the rules that the operator
renders, and those that Sloth {sloth} makes of the same metrics and objectives. Each request is
known, so that what was recorded is compared with what was true.

{date}, commit {commit}.

"""
_BUDGET: Final = """
## Budgets

Points (hundredths) of the error budget by which the recorded one is off: at the end, and at the
worst full hour after the first tenth of the time. A point of the budget of 99.5 % is 0.005 % of
requests. What a process counted after its last scrape ends with it, and nobody can record it: that
is what is off in `churn`. The operator has gateways scraped every 15 s, which is half as much.

"""
_CALLS: Final = """
## Calls

From the begin of an incident until somebody is called. *Due* is when the conditions of the SRE
Workbook's table first hold in the events themselves. The bound adds what each set of rules says
that it waits for (`for`: ours 2 minutes for a page and 15 for a ticket, Sloth's none; and ours
waits for ten bad events), a scrape and two evaluations (ours every 30 s for a page and every 2
minutes for a ticket, Sloth's every minute, as Prometheus does by default). That nothing is measured
has no place in the Workbook, nor in Sloth's rules; ours is to call after 5 minutes.

"""
_FALSE: Final = """
## False calls

A page is false outside of all incidents; a ticket where the events themselves do not make it due.

"""


def build_page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    heading = _HEADING.format(**{key: results[key] for key in _SHOWN})
    return heading + build_tables(results)


_SHOWN: Final = ("days", "prometheus", "sloth", "date", "commit")


def build_tables(results: Mapping[str, Any]) -> str:
    """The goals, and then each scenario."""
    scenarios = results["scenarios"]
    return "".join(
        (
            _render_table(("Goal", "Ours", "Sloth"), _goal_rows(scenarios)),
            _BUDGET,
            _render_table(
                (
                    "Scenario",
                    "Objective",
                    "True SLI",
                    "Budget left",
                    "Ours, end",
                    "worst hour",
                    "Sloth, end",
                    "worst hour",
                ),
                _budget_rows(scenarios),
            ),
            _CALLS,
            _render_table(
                ("Scenario", "Incident", "Due", "Bound", "Ours", "Bound for Sloth", "Sloth"),
                _call_rows(scenarios),
            ),
            _FALSE,
            _render_table(
                (
                    "Scenario",
                    "Ours: pages",
                    "of them false",
                    "tickets",
                    "of them false",
                    "Sloth: pages",
                    "of them false",
                    "tickets",
                    "of them false",
                ),
                _false_rows(scenarios),
            ),
            "\n## Scenarios\n\n",
            _render_table(
                ("Scenario", ""), [(name, each["title"]) for name, each in scenarios.items()]
            ),
        )
    )


def list_goals(scenarios: Mapping[str, Any], contestant: str) -> list[tuple[str, bool, str]]:
    """Each goal, whether it is met, and the number behind it."""
    scores = [each[contestant] for each in scenarios.values()]
    budgets = [budget for each in scores for budget in each["budgets"]]
    errors = [it["error"] for it in budgets]
    known = [each for each in errors if each is not None]
    unknown = len(errors) - len(known)
    shown = f"{max(known, default=0):.2f} at most" + (
        f", {unknown} of {len(errors)} unknown" if unknown else ""
    )
    false = sum(len(each["false_pages"]) for each in scores)
    heard = [it for each in scores for it in each["heard"] if it["call"] == "page"]
    late = [it for it in heard if not it["in_time"]]
    missed = sum(it["delay"] is None for it in late)
    met = not unknown and max(known, default=0) <= GOAL_POINTS
    return [
        (f"Budget off by ≤ {GOAL_POINTS} points at the end", met, shown),
        ("No false page", false == 0, f"{false}"),
        (
            "Every page within its bound",
            not late,
            f"{len(heard) - len(late)} of {len(heard)}; {missed} never came",
        ),
    ]


def _goal_rows(scenarios: Mapping[str, Any]) -> Iterator[Row]:
    ours, sloth = (list_goals(scenarios, name) for name in ("ours", "sloth"))
    for (goal, met, shown), (_, sloth_met, sloth_shown) in zip(ours, sloth, strict=True):
        yield goal, _judge(shown, met), _judge(sloth_shown, sloth_met)


def _judge(shown: str, met: bool) -> str:
    return f"{shown}: {'met' if met else '**not met**'}"


def _budget_rows(scenarios: Mapping[str, Any]) -> Iterator[Row]:
    for name, each in scenarios.items():
        for ours, sloth in zip(each["ours"]["budgets"], each["sloth"]["budgets"], strict=True):
            yield (
                name,
                ours["slo"],
                f"{ours['true_sli'] * 100:.3f} %",
                f"{ours['true_remaining'] * 100:.1f} %",
                _points(ours["error"]),
                _worst(ours),
                _points(sloth["error"]),
                _worst(sloth),
            )


def _worst(budget: Mapping[str, Any]) -> str:
    unknown, hours = budget["unknown_hours"], budget["hours"]
    if unknown == hours:
        return "no number"
    note = f"; {unknown} of {hours} h no number" if unknown else ""
    return _points(budget["worst"]) + note


def _points(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2f}"


def _call_rows(scenarios: Mapping[str, Any]) -> Iterator[Row]:
    for name, each in scenarios.items():
        for ours, sloth in zip(each["ours"]["heard"], each["sloth"]["heard"], strict=True):
            what = f"{ours['what']} ({ours['call']}" + (
                f", {ours['slo']})" if ours["slo"] != "none" else ")"
            )
            yield (
                name,
                what,
                _time(ours["due"]),
                _time(ours["bound"]),
                _heard(ours),
                _time(sloth["bound"]),
                _heard(sloth),
            )


def _heard(heard: Mapping[str, Any]) -> str:
    if heard["delay"] is None:
        return "**never**"
    shown = _time(heard["delay"])
    return shown if heard["in_time"] else f"**{shown}**"


def _time(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    hours, rest = divmod(seconds, 3600)
    return f"{hours} h {rest // 60:02} min" if hours else f"{rest // 60} min {rest % 60:02} s"


def _false_rows(scenarios: Mapping[str, Any]) -> Iterator[Row]:
    for name, each in scenarios.items():
        cells = [name]
        for contestant in ("ours", "sloth"):
            found = each[contestant]
            cells += [
                str(found["pages"]),
                _count(found["false_pages"]),
                str(found["tickets"]),
                _count(found["false_tickets"]),
            ]
        yield cells


def _count(alerts: Sequence[Any]) -> str:
    return f"**{len(alerts)}**" if alerts else "0"


def _render_table(head: Row, rows: Iterator[Row] | Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
