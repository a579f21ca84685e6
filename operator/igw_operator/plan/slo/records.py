"""Recorded series of one objective: events, error ratios by window, budget, coverage.

Hours are summed from the events of every 30 s. Days and longer are summed from tiles: the events
of ten minutes each, taken where the clock passes a multiple of ten minutes. A tile holds exactly
what lies between two such marks, so that the sum is exact, and a month is 4,320 samples instead
of 86,400. What came after the last mark is added, so that a budget is never behind.

Of a calendar month the same tiles are summed as far as they lie in it: it begins anew by itself.
"""

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
    TILE_BAD,
    TILE_TOTAL,
    ratio_name,
)
from igw_operator.plan.slo.objective import Objective
from igw_operator.plan.slo.promql import render_number

Rule = dict[str, Any]

TILE: Final = "10m"
TILE_SECONDS: Final = 600

_SHORT_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h")
_LONG_WINDOWS: Final = ("1d", "3d")
_TILES_A_DAY: Final = 86_400 // TILE_SECONDS
_INTERVAL: Final = conventions.RULE_INTERVAL_SECONDS
# When the rule is evaluated, seen from within a subquery: the mark before, and the time.
_LAST_MARK: Final = f"last_over_time(vector(time())[{TILE}:{TILE}] @ end())"
_NOW: Final = f"last_over_time(vector(time())[1m:{_INTERVAL}s] @ end())"
# The tile that ends at midnight is the last one of the day before.
_IN_THIS_MONTH: Final = f"month(vector(time() - 1)) == month({_NOW})"
_LONGEST_MONTH: Final = "31d"
_TILES_OF_MONTH: Final = (
    f"clamp_min((day_of_month() - 1) * {_TILES_A_DAY} + hour() * {3600 // TILE_SECONDS} "
    f"+ floor(minute() / {TILE_SECONDS // 60}), 1)"
)


def render_event_count(name: str, objective: Objective, window: str) -> str:
    """How many events a window of hours holds."""
    return f"sum_over_time({objective.record(name)}[{window}])"


def render_seen_samples(objective: Objective, window: str) -> str:
    """How many evaluations within a window of hours saw the gateway."""
    return f"count_over_time({objective.record(EVENTS_TOTAL)}[{window}])"


def render_tile_count(name: str, objective: Objective, window: str) -> str:
    """How many events the tiles of a window hold; up to ten minutes behind."""
    return f"sum_over_time({_render_tiles(name, objective, window)})"


def render_seen_tiles(objective: Objective, window: str) -> str:
    """How many tiles of a window there are; none is 0 as soon as anything is measured."""
    tiles = _render_tiles(TILE_TOTAL, objective, window)
    return f"(count_over_time({tiles}) or 0 * {objective.record(TILE_TOTAL)})"


def build_short_records(objective: Objective) -> list[Rule]:
    """Events, then what is made of them; the order within the group matters."""
    tiles = ((TILE_TOTAL, EVENTS_TOTAL), (TILE_BAD, EVENTS_BAD))
    return [
        # Here and not among the days: who edits an objective sees it at the next evaluation.
        _build_record(OBJECTIVE, f"vector({render_number(objective.target)})", objective),
        _build_record(EVENTS_TOTAL, objective.total, objective),
        _build_record(EVENTS_BAD, objective.bad, objective),
        # Here as well: a tile has to end with the last events before its mark, and what comes
        # after the mark begins with the next ones.
        *(
            _build_record(tile, render_event_count(events, objective, TILE), objective)
            for tile, events in tiles
        ),
        *(_build_short_ratio(window, objective) for window in _SHORT_WINDOWS),
    ]


def build_long_records(objective: Objective, window: Window) -> list[Rule]:
    """Ratios of days, and what remains of the budget (negative once it is overspent)."""
    spent = f"{objective.record(ratio_name(window))} / {objective.budget}"
    return [
        *(_build_long_ratio(each, objective) for each in (*_LONG_WINDOWS, window)),
        _build_record(BUDGET_REMAINING, f"1 - {spent}", objective),
        _build_record(COVERAGE, _render_coverage(objective, window), objective),
    ]


def _build_short_ratio(window: str, objective: Objective) -> Rule:
    # Sums, then one division: an hour counts by its traffic. An average of ratios would let an
    # idle night outvote a busy hour, and needs no raw samples either.
    bad, total = (
        render_event_count(name, objective, window) for name in (EVENTS_BAD, EVENTS_TOTAL)
    )
    return _build_ratio(window, bad, total, objective)


def _build_long_ratio(window: str, objective: Objective) -> Rule:
    bad = _render_tiled_events(TILE_BAD, EVENTS_BAD, objective, window)
    total = _render_tiled_events(TILE_TOTAL, EVENTS_TOTAL, objective, window)
    return _build_ratio(window, bad, total, objective)


def _render_coverage(objective: Objective, window: Window) -> str:
    seen = render_seen_tiles(objective, window)
    if window.is_calendar:
        return f"clamp_max({seen} / on() group_left() {_TILES_OF_MONTH}, 1)"
    return f"clamp_max({seen} / {window.days * _TILES_A_DAY}, 1)"


def _render_tiles(name: str, objective: Objective, window: str) -> str:
    """The tiles of a window as a range, each once."""
    tile = objective.record(name)
    if window == Window.CALENDAR_MONTH:
        return f"({tile} and on() ({_IN_THIS_MONTH}))[{_LONGEST_MONTH}:{TILE}]"
    return f"{tile}[{window}:{TILE}]"


def _render_tiled_events(tile: str, events: str, objective: Objective, window: str) -> str:
    """All events of a long window: those of whole tiles, and those since the last mark.

    Either may be missing, of a new gateway or of one that is not scraped any more.
    """
    tiles = render_tile_count(tile, objective, window)
    sample = objective.record(events)
    # Each sample once: a missing one would be taken for the one before it.
    fresh = f"{sample} and (timestamp({sample}) > time() - {_INTERVAL})"
    recent = f"({fresh} and on() (vector(time()) > {_LAST_MARK}))"
    rest = f"sum_over_time({recent}[{TILE}:{_INTERVAL}s])"
    parts = (
        f'label_replace({tiles}, "part", "tiles", "", "")',
        f'label_replace({rest}, "part", "rest", "", "")',
    )
    return f"sum without(part) ({' or '.join(parts)})"


def _build_ratio(window: str, bad: str, total: str, objective: Objective) -> Rule:
    # Without events there is no ratio. 0/0 would be NaN, and stay in every sum for a window.
    return _build_record(ratio_name(window), f"{bad} / ({total} > 0)", objective)


def _build_record(name: str, expression: str, objective: Objective) -> Rule:
    return {"record": name, "expr": expression, "labels": dict(objective.labels)}
