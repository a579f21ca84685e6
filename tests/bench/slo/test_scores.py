from __future__ import annotations

import math

import numpy as np
import pytest

from bench.slo.contestants import Contestant
from bench.slo.replay import Alert, Said
from bench.slo.scenario import DAY, HOUR, Incident, Scenario, Span
from bench.slo.scores import read_at, score
from bench.slo.simulation import Log
from bench.slo.truth import Totals

OUTAGE = Span(begin=DAY, end=DAY + HOUR)
LENGTH = 2 * DAY
CONTESTANT = Contestant(
    name="ours",
    rules="",
    ratio="ratio",
    remaining="remaining",
    slo_label="slo",
    pages={"severity": "critical"},
    evidence=0,
    wait_seconds={"page": 120, "ticket": 900},
    interval_seconds={"page": 30, "ticket": 120},
)
SCENARIO = Scenario(
    name="a",
    title="",
    days=2,
    pods=(),
    rate=lambda at: np.ones(at.shape),
    failing=lambda at: np.zeros(at.shape),
    slow=lambda at: np.zeros(at.shape),
    incidents=(Incident(what="outage", span=OUTAGE, slo="availability", call="page"),),
)


def totals() -> dict[str, Totals]:
    """Ten requests a second, which all fail in the outage."""
    log = Log(total=np.full(LENGTH, 10), bad=np.zeros(LENGTH, np.int64))
    log.bad[OUTAGE.begin : OUTAGE.end] = 10
    return {"availability": Totals.of(log, 0.995)}


def an_alert(fired: int, severity: str = "critical", slo: str = "availability") -> Alert:
    """One that fired."""
    return Alert(name="Burn", labels={"slo": slo, "severity": severity}, fired=fired, resolved=None)


def said(*alerts: Alert, remaining: dict[float, float] | None = None) -> Said:
    """What rules said."""
    return Said(records={("remaining", "availability"): remaining or {}}, alerts=alerts)


@pytest.mark.parametrize(
    ("samples", "value"),
    [
        ({100.0: 1.0, 160.0: 2.0, 220.0: 3.0}, 2.0),
        ({100.0: 1.0}, 1.0),
        ({-110.0: 1.0}, None),
        ({160.0: math.nan}, None),
        ({}, None),
    ],
    ids=["the last one before", "an older one", "too old", "no number", "nothing"],
)
def test_reads_like_a_query(samples: dict[float, float], value: float | None) -> None:
    """Five minutes back, and never ahead."""
    assert read_at(samples, 200) == value


def test_a_page_is_late_after_its_bound() -> None:
    """Due after 260 s, and 2 minutes of ``for`` and 90 s later at the latest."""
    for fired, in_time in ((470, True), (471, False)):
        found = score(CONTESTANT, SCENARIO, totals(), said(an_alert(OUTAGE.begin + fired)))

        (heard,) = found.heard
        assert (heard.due, heard.bound, heard.delay) == (260, 470, fired)
        assert heard.in_time is in_time
        assert found.false_pages == ()


def test_a_page_that_never_came_is_not_in_time() -> None:
    """Silence is the worst answer."""
    (heard,) = score(CONTESTANT, SCENARIO, totals(), said()).heard

    assert heard.delay is None
    assert not heard.in_time


@pytest.mark.parametrize(
    "alert",
    [
        an_alert(OUTAGE.begin - 10),
        an_alert(OUTAGE.end + HOUR),
        an_alert(OUTAGE.begin + 60, slo="latency"),
    ],
    ids=["before the outage", "long after it", "about something else"],
)
def test_a_page_without_an_incident_is_false(alert: Alert) -> None:
    """People are called for an incident, and by what is about it."""
    assert score(CONTESTANT, SCENARIO, totals(), said(alert)).false_pages == (alert,)


def test_a_ticket_is_judged_by_the_events() -> None:
    """An hour of outage is a day's ticket; before it there was nothing to write about."""
    early = an_alert(OUTAGE.begin - 600, severity="warning")
    due = an_alert(OUTAGE.end + HOUR, severity="warning")

    found = score(CONTESTANT, SCENARIO, totals(), said(early, due))

    assert (found.tickets, found.false_tickets) == (2, (early,))


def test_an_error_is_in_points_of_the_budget() -> None:
    """An hour of two days is 2.1 % of all: budget overspent by 317 %."""
    true = 1 - (HOUR / LENGTH) / 0.005
    recorded = {hour * HOUR + 0.0: true + 0.02 for hour in range(24, 49)}

    (budget,) = score(CONTESTANT, SCENARIO, totals(), said(remaining=recorded)).budgets

    assert budget.true_remaining == pytest.approx(true)
    assert budget.error == pytest.approx(2)


def test_an_hour_without_a_number_is_counted() -> None:
    """No number is not the same as no error."""
    (budget,) = score(CONTESTANT, SCENARIO, totals(), said()).budgets

    assert budget.error is None
    assert budget.worst is None
    assert budget.unknown_hours == budget.hours == 44
