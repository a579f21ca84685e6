"""Recorded series of one objective: events, error ratios by window, budget, coverage."""

from __future__ import annotations

from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.windows import Window
from igw_operator.plan.slo.names import (
    BUDGET_REMAINING,
    COVERAGE,
    EVENTS_BAD,
    EVENTS_TOTAL,
    OBJECTIVE,
    ratio_name,
)
from igw_operator.plan.slo.objective import Objective
from igw_operator.plan.slo.promql import render_number

Rule = dict[str, Any]

_SHORT_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h")
_LONG_WINDOWS: Final = ("1d", "3d")
_SECONDS_A_DAY: Final = 86_400


def render_event_count(name: str, objective: Objective, window: str) -> str:
    """How many events a recorded rate stands for: each sample counts for one interval."""
    interval = conventions.RULE_INTERVAL_SECONDS
    return f"sum_over_time({objective.record(name)}[{window}]) * {interval}"


def build_short_records(objective: Objective) -> list[Rule]:
    """Events, then the ratios made of them; the order within the group matters."""
    return [
        _build_record(EVENTS_TOTAL, objective.total, objective),
        _build_record(EVENTS_BAD, objective.bad, objective),
        *(_build_ratio(window, objective) for window in _SHORT_WINDOWS),
    ]


def build_long_records(objective: Objective, window: Window) -> list[Rule]:
    """Ratios of days, and what remains of the budget (negative once it is overspent)."""
    spent = f"{objective.record(ratio_name(window))} / {objective.budget}"
    samples = f"count_over_time({objective.record(EVENTS_TOTAL)}[{window}])"
    expected = window.days * _SECONDS_A_DAY // conventions.RULE_INTERVAL_SECONDS
    return [
        *(_build_ratio(each, objective) for each in (*_LONG_WINDOWS, window)),
        _build_record(BUDGET_REMAINING, f"1 - {spent}", objective),
        _build_record(OBJECTIVE, f"vector({render_number(objective.target)})", objective),
        _build_record(COVERAGE, f"clamp_max({samples} / {expected}, 1)", objective),
    ]


def _build_ratio(window: str, objective: Objective) -> Rule:
    bad, total = objective.record(EVENTS_BAD), objective.record(EVENTS_TOTAL)
    if window != "5m":
        # Sums of rates, then one division: an hour counts by its traffic. An average of
        # ratios would let an idle night outvote a busy hour, and needs no raw samples either.
        bad, total = f"sum_over_time({bad}[{window}])", f"sum_over_time({total}[{window}])"
    # Without events there is no ratio. 0/0 would be NaN, and stay in every sum for a window.
    return _build_record(ratio_name(window), f"{bad} / ({total} > 0)", objective)


def _build_record(name: str, expression: str, objective: Objective) -> Rule:
    return {"record": name, "expr": expression, "labels": dict(objective.labels)}
