from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igw_runtime.settings import LoggingSettings
from igw_runtime.telemetry.log_budget import (
    BURST_SECONDS,
    LEVELS,
    MIN_BURST_BYTES,
    Dropped,
    DropReason,
    LogBudget,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_budget(clock: Callable[[], float] = float, /, **settings: Any) -> LogBudget:
    """Return a budget of these settings."""
    return LogBudget(LoggingSettings.model_validate(settings), clock)


LINES = st.lists(
    st.tuples(
        st.floats(0, 5),
        st.sampled_from(sorted(LEVELS)),
        st.integers(1, 2 * MIN_BURST_BYTES),
    ),
    max_size=40,
)


@given(rate=st.integers(1, 200_000), lines=LINES)
def test_no_span_of_time_has_more_bytes_than_the_rate_allows(
    rate: int, lines: list[tuple[float, str, int]]
) -> None:
    """What is written between any two moments is the rate times the seconds, and one burst."""
    clock = Clock()
    budget = a_budget(clock, maxBytesPerSecond=rate)
    written: list[tuple[float, int]] = []
    for pause, level, size in lines:
        clock.now += pause
        kept = budget.admits(level, size)
        if level in {"error", "critical"}:
            assert kept, "errors are never dropped"
        elif kept:
            written.append((clock.now, size))

    burst = max(rate * BURST_SECONDS, MIN_BURST_BYTES)
    for first, last in combinations(range(len(written)), 2):
        seconds = written[last][0] - written[first][0]
        total = sum(size for _, size in written[first : last + 1])
        assert total <= rate * seconds + burst + 1e-3


@given(rate=st.integers(1, 200_000), lines=LINES)
def test_silence_makes_room_again(rate: int, lines: list[tuple[float, str, int]]) -> None:
    """However much was wanted before, a line of sane length is written after enough silence."""
    clock = Clock()
    budget = a_budget(clock, maxBytesPerSecond=rate)
    for pause, level, size in lines:
        clock.now += pause
        budget.admits(level, size)
    clock.now += MIN_BURST_BYTES / rate + BURST_SECONDS

    assert budget.admits("info", MIN_BURST_BYTES)


def test_no_rate_is_no_limit() -> None:
    """Zero switches the cap off, as the settings say."""
    budget = a_budget(maxBytesPerSecond=0)

    assert all(budget.admits("debug", 1 << 30) for _ in range(10))


def test_rate_is_live() -> None:
    """A lower one cuts what was saved up; a higher one is earned from now on."""
    clock = Clock()
    budget = a_budget(clock, maxBytesPerSecond=10_000_000)
    budget.apply(LoggingSettings(maxBytesPerSecond=1000))

    assert not budget.admits("info", MIN_BURST_BYTES + 1)
    assert budget.admits("info", MIN_BURST_BYTES)
    budget.apply(LoggingSettings(maxBytesPerSecond=50_000))
    assert not budget.admits("info", 50_000)
    clock.now = 1.0
    assert budget.admits("info", 50_000)


@given(request=st.text(max_size=40), percent=st.floats(0, 100))
def test_requests_are_logged_whole_or_not_at_all(request: str, percent: float) -> None:
    """Each line of a level gets the same answer for one request, also in another process."""
    settings: dict[str, Any] = {"samplingPercent": {"info": percent}}
    answers = {a_budget(**settings).samples("info", request) for _ in range(3)}

    assert len(answers) == 1
    assert a_budget(**settings).samples("error", request)
    assert a_budget(**settings).samples("warning", request), "each level has its own share"


@pytest.mark.parametrize(("percent", "low", "high"), [(0, 0, 0), (10, 70, 130), (100, 1000, 1000)])
def test_share_of_requests_is_the_one_asked_for(percent: float, low: int, high: int) -> None:
    """Nothing means nothing, everything everything, a tenth about a tenth."""
    budget = a_budget(samplingPercent={"info": percent})
    logged = sum(budget.samples("info", f"request-{n}") for n in range(1000))

    assert low <= logged <= high
    assert budget.count_drops().get(("info", DropReason.SAMPLING), 0) == 1000 - logged


def test_what_belongs_to_no_request_is_not_sampled() -> None:
    """That the server started is said once, and not to nine of ten readers."""
    assert a_budget(samplingPercent={"info": 0}).samples("info", None)


def test_finalizer_may_log_while_a_line_is_decided() -> None:
    """Event loops log from finalizers, which run wherever the garbage collector does."""
    budgets: list[LogBudget] = []
    logged: list[bool] = []

    def clock() -> float:
        if budgets and not logged:
            logged.append(True)
            logged.append(budgets[0].admits("error", 10))
        return 0.0

    budgets.append(LogBudget(LoggingSettings(), clock))

    assert budgets[0].admits("info", 10)
    assert logged == [True, True]


def test_report_has_what_was_dropped_since_the_last_one() -> None:
    """Counts and bytes by level; what sampling left out was meant to be."""
    budget = a_budget()
    budget.note_drop("info", 100, DropReason.RATE)
    budget.note_drop("info", 50, DropReason.RATE)
    budget.note_drop("debug", 0, DropReason.SAMPLING)

    rate: dict[str, Any] = {"level": "info", "reason": DropReason.RATE}
    assert budget.take_report() == [Dropped(**rate, count=2, size_bytes=150)]
    assert budget.take_report() == []
    budget.note_drop("info", 7, DropReason.RATE)
    assert budget.take_report() == [Dropped(**rate, count=1, size_bytes=7)]
    assert budget.count_drops()["info", DropReason.RATE] == 3
