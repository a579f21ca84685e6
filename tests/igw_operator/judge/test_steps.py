"""Numbers in steps: never far from the reading, never restless."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igw_operator.judge.snapshot import SpanLoss
from igw_operator.judge.steps import (
    derive_sli,
    read_percent,
    step_budget,
    step_burn,
    step_coverage,
    step_losses,
)

Step = Callable[[str | None, float | None], str | None]
RATIO = st.floats(-20, 1)
RATE = st.floats(0, 1000)
COVERAGE = st.floats(0, 1)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.0, "100.0%"),
        (0.98312, "98.3%"),
        (-0.0004, "0.0%"),
        (-1.0, "-100.0%"),
        (-1.2345, "-123%"),
        (-12.345, "-1230%"),
    ],
)
def test_a_budget_reads_like_this(ratio: float, text: str) -> None:
    """In tenths of a point, in three digits beyond a whole budget."""
    assert step_budget(None, ratio) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0"), (0.09, "0"), (0.355, "0.36"), (1.04, "1"), (14.4, "14"), (123.4, "120")],
)
def test_a_burn_rate_reads_like_this(rate: float, text: str) -> None:
    """With two digits, and nothing of what is nobody's concern."""
    assert step_burn(None, rate) == text


@pytest.mark.parametrize(
    ("count", "told"), [(1.0, 1), (9.6, 10), (14.4, 10), (318.2, 300), (96_000.0, 100_000)]
)
def test_lost_spans_read_like_this(count: float, told: int) -> None:
    """With one digit."""
    assert step_losses((), {SpanLoss.QUEUE: count}) == ((SpanLoss.QUEUE, told),)


def test_what_is_hardly_a_span_is_no_loss() -> None:
    """Nor is what is no number."""
    losses = {SpanLoss.QUEUE: 0.4, SpanLoss.BACKEND: float("nan"), SpanLoss.RUNTIME: 0.0}
    assert step_losses((), losses) == ()


@given(st.integers(1, 10_000), st.floats(0.6, 100_000))
def test_lost_spans_are_at_most_twice_or_half_of_what_is_said(before: int, count: float) -> None:
    """And what was said stays for as long as that is true."""
    ((_, told),) = step_losses(((SpanLoss.QUEUE, before),), {SpanLoss.QUEUE: count})
    assert told / 2 <= max(count, 1) <= told * 2
    if before / 2 <= count <= before * 2:
        assert told == before


@pytest.mark.parametrize("step", [step_budget, step_burn, step_coverage])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_no_reading(step: Step, value: float | None) -> None:
    """Whatever stood there before."""
    assert step("3%", value) is None


@pytest.mark.parametrize("step", [step_budget, step_burn, step_coverage])
@pytest.mark.parametrize("before", ["soon", "", "NaN%", "Infinity"])
def test_what_is_no_number_is_written_over(step: Step, before: str) -> None:
    """An older operator, or somebody's hand, may have written anything."""
    assert step(before, 0.5) == step(None, 0.5)


@given(RATIO, RATIO)
def test_a_budget_is_within_a_step_of_its_reading(earlier: float, ratio: float) -> None:
    """Whatever stood there before; beyond -100 % within a hundredth."""
    text = step_budget(step_budget(None, earlier), ratio)

    assert text is not None
    most = max(Decimal("0.1"), abs(Decimal(repr(ratio))))
    assert abs(read_percent(text) - Decimal(repr(ratio)) * 100) <= most


@given(RATE, RATE)
def test_a_burn_rate_is_within_a_fifth_of_its_reading(earlier: float, rate: float) -> None:
    """Or within a tenth where both are small."""
    text = step_burn(step_burn(None, earlier), rate)

    assert text is not None
    assert abs(float(text) - rate) <= max(0.1, 0.2 * rate)


@given(COVERAGE, COVERAGE)
def test_a_coverage_is_within_a_point_of_its_reading(earlier: float, ratio: float) -> None:
    """Whatever stood there before."""
    text = step_coverage(step_coverage(None, earlier), ratio)

    assert text is not None
    assert abs(float(read_percent(text)) - ratio * 100) <= 1


@given(RATIO, RATE, COVERAGE)
def test_the_same_reading_twice_is_no_news(ratio: float, rate: float, coverage: float) -> None:
    """Nor is it after a restart, which knows no more than what stands there."""
    budget, burn = step_budget(None, ratio), step_burn(None, rate)
    assert step_budget(budget, ratio) == budget
    assert step_burn(burn, rate) == burn
    assert step_coverage(step_coverage(None, coverage), coverage) == step_coverage(None, coverage)


@given(st.floats(-1, 1), st.lists(st.floats(-0.0004, 0.0004), min_size=1, max_size=20))
def test_noise_is_written_once_at_most(ratio: float, noise: list[float]) -> None:
    """A value that trembles on the edge of a step is not written again and again."""
    text, writes = step_budget(None, ratio), 0
    for each in noise:
        before, text = text, step_budget(text, ratio + each)
        writes += text != before
    assert writes <= 1


@given(st.floats(0.1, 1000), st.lists(st.floats(0.92, 1.08), min_size=1, max_size=20))
def test_a_rate_that_trembles_is_written_once_at_most(rate: float, noise: list[float]) -> None:
    """Requests do not fail evenly."""
    text, writes = step_burn(None, rate), 0
    for each in noise:
        before, text = text, step_burn(text, rate * each)
        writes += text != before
    assert writes <= 1


@given(st.decimals(50, "99.999", places=3), st.floats(-5, 1))
def test_the_sli_follows_from_the_budget(objective: Decimal, ratio: float) -> None:
    """All of the budget left is 100 %, none of it is the objective; in between it is exact."""
    text = step_budget(None, ratio)
    assert text is not None

    sli = read_percent(derive_sli(objective, text))

    assert derive_sli(objective, "100.0%") == "100%"
    assert read_percent(derive_sli(objective, "0.0%")) == objective
    assert (100 - sli) * 100 == (100 - objective) * (100 - read_percent(text))
