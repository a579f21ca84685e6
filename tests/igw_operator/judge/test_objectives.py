"""`status.slo`, BUDGET and SLOMet: Prometheus' numbers, in steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from igw_operator.judge.events import transitions
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Reading, SloReading, Snapshot
from igw_operator.judge.status import judge
from scenes import NOW, a_snapshot, condition_of

LATER = NOW + timedelta(minutes=5)


def an_slo(name: str, budget: float | None = 0.9, **changes: Any) -> SloReading:
    """One objective as it is recorded."""
    burn = None if budget is None else 0.5
    values: dict[str, Any] = {"budget_remaining": budget, "burn_rate": burn, "coverage": 0.5}
    return SloReading(name=name, **({"is_recorded": True} | values | changes))


def measured(
    availability: float | None, latency: float | None = 0.9, *, spec: Any = None, **changes: Any
) -> Snapshot:
    """A gateway with so much of its budgets left."""
    reading = Reading(
        server="Prometheus monitoring/main",
        has_targets=True,
        expected=3,
        slos=(an_slo("availability", availability, **changes), an_slo("latency", latency)),
        as_of=NOW,
    )
    return replace(a_snapshot(spec=spec), reading=reading)


def met(status: Mapping[str, Any]) -> tuple[str, str, str]:
    """Status, reason and message of SLOMet."""
    found = condition_of(status, "SLOMet")
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, Reason.NO_DATA),
        ({"observability": {"metrics": {"enabled": False}}}, Reason.MONITORING_DISABLED),
    ],
    ids=["no reading yet", "no metrics at all"],
)
@pytest.mark.pain(11)
def test_objectives_without_readings_are_unknown(spec: Mapping[str, Any], reason: Reason) -> None:
    """No data is neither success nor failure."""
    assert met(judge(a_snapshot(spec=spec), None, NOW))[:2] == ("Unknown", reason)


def test_the_numbers_are_reported_with_the_time_of_prometheus() -> None:
    """Objective, SLI, budget, burn rate, coverage, as-of; BUDGET is the least."""
    status = judge(measured(0.987, 0.25), None, LATER)

    assert status["slo"][0] == {
        "name": "availability",
        "objective": "99.5%",
        "window": "30d",
        "sli": "99.9935%",
        "budgetRemaining": "98.7%",
        "burnRate": "0.5",
        "windowCoverage": "50%",
        "asOf": "2026-03-04T12:00:00Z",
    }
    assert status["slo"][1]["threshold"] == "300ms"
    assert status["budget"] == "25.0%"
    assert met(status) == (
        "True",
        Reason.WITHIN_BUDGET,
        "For 30d there is 98.7% of the availability budget and 25.0% of the latency budget left",
    )


def test_a_reading_within_the_step_changes_nothing() -> None:
    """Not even the time: as-of moves with a step."""
    before = judge(measured(0.987), None, NOW)
    snapshot = measured(0.98765)
    assert snapshot.reading is not None
    snapshot = replace(snapshot, reading=replace(snapshot.reading, as_of=LATER))

    assert judge(snapshot, before, LATER) == before


def test_as_of_moves_with_a_step_of_its_own_objective() -> None:
    """The other one keeps its time."""
    before = judge(measured(0.987, 0.5), None, NOW)
    snapshot = measured(0.95, 0.5)
    assert snapshot.reading is not None
    snapshot = replace(snapshot, reading=replace(snapshot.reading, as_of=LATER))

    times = [slo["asOf"] for slo in judge(snapshot, before, LATER)["slo"]]

    assert times == ["2026-03-04T12:05:00Z", "2026-03-04T12:00:00Z"]


@pytest.mark.parametrize(
    ("snapshot", "status", "reason", "says"),
    [
        (
            measured(-0.0432),
            "False",
            Reason.BUDGET_EXHAUSTED,
            "-4.3% of the availability budget is left: 99.4785% of 99.5% over 30d, spent at 0.5",
        ),
        (
            measured(0.9, -1.5),
            "False",
            Reason.BUDGET_EXHAUSTED,
            "-150% of the latency budget is left: 97.5% of 99% within 300ms over 30d",
        ),
        (
            measured(-0.5, coverage=0.01),
            "Unknown",
            Reason.TOO_LITTLE_HISTORY,
            "only 1% of the window is known",
        ),
        (
            measured(-3.0, -0.1, coverage=0.01),
            "False",
            Reason.BUDGET_EXHAUSTED,
            "-10.0% of the latency budget",
        ),
        (measured(0.9, None), "Unknown", Reason.NO_TRAFFIC, "No request has counted for latency"),
        (
            measured(None, None),
            "Unknown",
            Reason.NO_TRAFFIC,
            "No request has counted for availability and latency yet",
        ),
        (measured(-0.2, None), "False", Reason.BUDGET_EXHAUSTED, "-20.0% of the availability"),
        (
            measured(None, is_recorded=False, coverage=None),
            "Unknown",
            Reason.NO_DATA,
            "see MonitoringReady",
        ),
    ],
    ids=[
        "overspent",
        "deep in the red",
        "gone in the first hours",
        "what is known goes before what has begun badly",
        "no traffic for one",
        "no traffic at all",
        "one is spent, the other without traffic",
        "the rules are not loaded",
    ],
)
def test_slo_met(snapshot: Snapshot, status: str, reason: Reason, says: str) -> None:
    """True and False by numbers, Unknown without."""
    found = met(judge(snapshot, None, NOW))

    assert found[:2] == (status, reason)
    assert says in found[2]


def test_while_nobody_answers_the_last_numbers_stay_and_nothing_is_claimed() -> None:
    """Their time says how old they are."""
    before = judge(measured(0.9), None, NOW)
    silent = replace(a_snapshot(), reading=Reading(server="Prometheus a/b", error="refused"))

    status = judge(silent, before, LATER)

    assert status["slo"] == before["slo"]
    assert status["budget"] == before["budget"]
    assert met(status)[:2] == ("Unknown", Reason.PROMETHEUS_UNREACHABLE)


def test_a_new_threshold_begins_a_new_budget_and_says_so() -> None:
    """What the old one had spent is not carried over, and the other objective is not touched."""
    before = judge(measured(0.9, 0.2), None, NOW)
    slower = {"slo": {"latency": {"threshold": "500ms"}}}

    status = judge(replace(a_snapshot(spec=slower), reading=None), before, LATER)

    assert status["slo"][0] == before["slo"][0]
    assert "budgetRemaining" not in status["slo"][1]
    drafts = [it for it in transitions(before, status) if it.reason == "BudgetRestarted"]
    assert [it.type for it in drafts] == ["Normal"]
    assert "latency objective is measured at 500ms instead of 300ms" in drafts[0].note
    assert transitions(status, status) == []


def test_a_new_objective_is_another_share_of_the_same_budget() -> None:
    """Without an answer nobody knows it, with one it follows at once; neither is an event."""
    before = judge(measured(0.9), None, NOW)
    stricter = {"slo": {"availability": {"objective": 99.9}}}

    unknown = judge(replace(a_snapshot(spec=stricter), reading=None), before, LATER)
    known = judge(measured(0.5, spec=stricter), before, LATER)

    assert "budgetRemaining" not in unknown["slo"][0]
    assert unknown["slo"][1] == before["slo"][1]
    assert known["slo"][0]["budgetRemaining"] == "50.0%"
    assert known["slo"][0]["sli"] == "99.95%"
    for status in (unknown, known):
        assert "BudgetRestarted" not in {it.reason for it in transitions(before, status)}
