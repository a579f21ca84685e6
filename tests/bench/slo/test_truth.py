from __future__ import annotations

import math

import numpy as np
import pytest

from bench.slo.scenario import DAY, HOUR, MINUTE, Span
from bench.slo.simulation import Log
from bench.slo.truth import Totals, find_due

SECONDS = 2 * DAY


def totals(*bad: Span, a_second: int = 100, share: float = 1.0, target: float = 0.995) -> Totals:
    """Constant traffic, of which a share is bad within some spans."""
    log = Log(total=np.full(SECONDS, a_second), bad=np.zeros(SECONDS, np.int64))
    for span in bad:
        log.bad[span.begin : span.end] = round(a_second * share)
    return Totals.of(log, target)


def at(*seconds: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Some times."""
    return np.array(seconds, dtype=np.int64)


def test_a_share_is_of_the_window_before() -> None:
    """What is older has no part in it, and neither has what comes."""
    found = totals(Span(begin=HOUR, end=2 * HOUR)).share(at(HOUR, 2 * HOUR, 3 * HOUR), 2 * HOUR)

    assert list(found) == [0, 0.5, 0.5]


def test_a_window_before_the_begin_holds_what_there_is() -> None:
    """A young service is judged by its life."""
    assert list(totals(Span(begin=0, end=60)).share(at(120), 30 * DAY)) == [0.5]


def test_without_events_there_is_no_share() -> None:
    """Nothing of nothing is no number."""
    assert math.isnan(totals(a_second=0).share(at(HOUR), HOUR)[0])


def test_what_remains_is_of_the_budget() -> None:
    """Half of the allowed errors leave half; more than all of them leave less than nothing."""
    half = totals(Span(begin=0, end=SECONDS), a_second=400, share=1 / 400)
    twice = totals(Span(begin=0, end=SECONDS), share=0.01)

    assert half.remaining(at(SECONDS))[0] == pytest.approx(0.5)
    assert twice.remaining(at(SECONDS))[0] == pytest.approx(-1)


def test_a_full_outage_is_due_when_the_workbook_says() -> None:
    """14.4 x 0.5 % of an hour: 4 minutes and 19.2 seconds."""
    outage = Span(begin=DAY, end=DAY + HOUR)

    due = find_due(totals(outage), outage, "page")

    assert due is not None
    assert due - outage.begin == 260


def test_a_part_takes_the_longer() -> None:
    """A fifth of all: 21.6 minutes by the one hour, 54 by the six."""
    outage = Span(begin=DAY, end=DAY + 2 * HOUR)

    due = find_due(totals(outage, share=0.2), outage, "page")

    assert due is not None
    assert due - outage.begin == pytest.approx(21.6 * MINUTE, abs=1)


def test_nothing_is_due_within_the_objective() -> None:
    """Neither a page nor a ticket."""
    always = Span(begin=0, end=SECONDS)
    fine = totals(always, a_second=400, share=1 / 400)

    assert find_due(fine, always, "page") is None
    assert find_due(fine, always, "ticket") is None


def test_a_slow_burn_is_a_ticket() -> None:
    """Four times what is allowed pages nobody."""
    always = Span(begin=DAY, end=SECONDS)
    burning = totals(always, share=0.02)

    assert find_due(burning, always, "page") is None
    assert find_due(burning, always, "ticket") is not None


def test_evidence_postpones_a_call() -> None:
    """One request a second: the tenth failure comes after ten seconds, and not at once."""
    outage = Span(begin=60, end=HOUR)
    young = totals(outage, a_second=1)

    assert find_due(young, outage, "page") == 62
    assert find_due(young, outage, "page", evidence=10) == 70
