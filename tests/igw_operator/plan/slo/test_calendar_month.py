"""The budget of a calendar month: from midnight of the first (UTC), by the same rules all year."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from factories import a_gateway
from igw_operator.api.windows import Window
from igw_operator.plan.slo.names import (
    COVERAGE,
    EVENTS_BAD,
    EVENTS_TOTAL,
    TILE_BAD,
    TILE_TOTAL,
    ratio_name,
)
from igw_operator.plan.slo.objective import build_objectives
from plan_kit.history import History, Sample, serve_history
from plan_kit.prometheus import build_groups

pytestmark = pytest.mark.integration

OBJECTIVE = build_objectives(a_gateway())[0]
# Half of January's requests failed, none of February's until the 10th, and a tenth since then.
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)
WORSE = datetime(2024, 2, 10, tzinfo=UTC)
MARCH = datetime(2024, 3, 1, tzinfo=UTC)
END = datetime(2024, 3, 2, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)
# From when on each of its samples of every 30 s is there; before, tiles are enough.
DETAILED = (FEBRUARY, MARCH)
A_SECOND = 10.0


def share(at: datetime) -> float:
    """The share of requests that fail at a time."""
    return 0.5 if at < FEBRUARY else 0.0 if at < WORSE else 0.1


def tiles() -> Iterator[Sample]:
    """What the tiles' rules record, evaluated last 20 s before each mark."""
    # Nothing is known of an hour of the 20th of February.
    gap = datetime(2024, 2, 20, 12, tzinfo=UTC)
    mark = JANUARY + TEN_MINUTES
    while mark <= END:
        at = (mark - timedelta(seconds=20)).timestamp()
        if not gap < mark <= gap + timedelta(hours=1):
            bad = share(mark - TEN_MINUTES)
            yield Sample(OBJECTIVE.record(TILE_TOTAL), at, A_SECOND * 600)
            yield Sample(OBJECTIVE.record(TILE_BAD), at, A_SECOND * 600 * bad)
        mark += TEN_MINUTES


def rates() -> Iterator[Sample]:
    """What is recorded every 30 s, in the quarter of an hour after a month's begin."""
    for begin in DETAILED:
        for step in range(-20, 31):
            at = begin + timedelta(seconds=30 * step - 10)
            total = A_SECOND * 30
            yield Sample(OBJECTIVE.record(EVENTS_TOTAL), at.timestamp(), total)
            yield Sample(OBJECTIVE.record(EVENTS_BAD), at.timestamp(), total * share(at))


@pytest.fixture(scope="module")
def history(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """Two months and a day."""
    folder = tmp_path_factory.mktemp("history")
    with serve_history(prometheus, promtool, folder, [*tiles(), *rates()]) as served:
        yield served


def expression(record: str) -> str:
    """The rule of the month that records something about availability."""
    (found,) = (
        rule["expr"]
        for group in build_groups(slo={"window": "month"})
        for rule in group["rules"]
        if rule.get("record") == record and rule["labels"]["slo"] == "availability"
    )
    return str(found)


RATIO = expression(ratio_name(Window.CALENDAR_MONTH))


@pytest.mark.parametrize(
    ("at", "bad"),
    [
        (datetime(2024, 1, 15, tzinfo=UTC), 0.5),
        (datetime(2024, 1, 31, 23, 55, tzinfo=UTC), 0.5),
        (datetime(2024, 2, 1, 0, 3, tzinfo=UTC), 0.0),
        (datetime(2024, 2, 1, 0, 13, tzinfo=UTC), 0.0),
        (datetime(2024, 2, 9, 23, 50, tzinfo=UTC), 0.0),
        (datetime(2024, 2, 19, tzinfo=UTC), 0.05),
        # 20 of 29 days, less an hour that nobody saw and the half-minute that is not over yet.
        (
            datetime(2024, 2, 29, 23, 59, 50, tzinfo=UTC),
            0.1 * (20 * 144 - 6 - 1 / 20) / (29 * 144 - 6 - 1 / 20),
        ),
        (datetime(2024, 3, 1, 0, 4, tzinfo=UTC), 0.1),
        (datetime(2024, 3, 1, 12, tzinfo=UTC), 0.1),
    ],
    ids=str,
)
def test_counts_from_the_first_of_the_month(history: History, at: datetime, bad: float) -> None:
    """Whatever was before is forgotten at midnight; what is since then is all there."""
    assert history.ask(RATIO, at) == pytest.approx([bad], abs=1e-9)


def test_has_nothing_to_say_before_anything_happened(history: History) -> None:
    """In the first half-minute of a month there are no requests yet, and so no ratio."""
    assert history.ask(RATIO, FEBRUARY) == []
    assert history.ask(RATIO, FEBRUARY + timedelta(seconds=5)) == []


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        (datetime(2024, 2, 1, 0, 0, 5, tzinfo=UTC), 0.0),
        (datetime(2024, 2, 1, 0, 12, tzinfo=UTC), 1.0),
        (datetime(2024, 2, 20, 12, tzinfo=UTC), 1.0),
        (datetime(2024, 2, 21, tzinfo=UTC), (20 * 144 - 6) / (20 * 144)),
        (datetime(2024, 3, 1, 0, 12, tzinfo=UTC), 1.0),
    ],
    ids=str,
)
def test_covers_what_is_over_of_the_month(history: History, at: datetime, covered: float) -> None:
    """Seen tiles in relation to those that have passed since the first."""
    assert history.ask(expression(COVERAGE), at) == pytest.approx([covered], abs=1e-9)


@pytest.mark.parametrize(
    ("at", "calls"),
    [
        (datetime(2024, 1, 3, 23, 59, tzinfo=UTC), False),
        (datetime(2024, 1, 4, tzinfo=UTC), True),
        (datetime(2024, 2, 1, tzinfo=UTC), False),
    ],
    ids=str,
)
def test_calls_a_budget_exhausted_from_the_fourth_on(
    history: History, at: datetime, calls: bool
) -> None:
    """A bad minute of the first morning is most of that month so far, and no reason to write."""
    (alert,) = (
        rule["expr"]
        for group in build_groups(slo={"window": "month"})
        for rule in group["rules"]
        if rule.get("alert", "").endswith("Exhausted") and rule["labels"]["slo"] == "availability"
    )
    remaining, covered, date = alert.split(" and ", 2)
    assert remaining.endswith("<= 0")
    assert covered.endswith(">= 0.1")
    assert bool(history.ask(f"vector(1) and {date}", at)) is calls
