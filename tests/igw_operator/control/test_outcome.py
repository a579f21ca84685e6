from datetime import UTC, datetime, timedelta

import pytest

from igw_operator.control.outcome import Outcome, Result, choose_outcome, outcome_of
from igw_operator.errors import ApiError
from igw_operator.judge.snapshot import ApplyFailure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def failure(status: int, *, retry_after: float | None = None) -> ApplyFailure:
    """A child that could not be written."""
    error = ApiError("no", status=status, retry_after_seconds=retry_after)
    return ApplyFailure(kind="Service", name="photos", error=error)


def unready_for(seconds: float) -> dict[str, object]:
    """A status that has not been ready for so long."""
    since = (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": since}]}


def test_what_is_ready_needs_no_second_look() -> None:
    """An event will tell when that changes."""
    assert choose_outcome(READY, [], NOW) == Outcome()


@pytest.mark.parametrize(
    ("age", "pause"),
    [(0, 10), (100, 25), (10_000, 300)],
    ids=["a young trouble soon", "an older one later", "an old one seldom"],
)
def test_what_is_not_ready_is_looked_at_again(age: float, pause: float) -> None:
    """Not every cause ends with an event that we see."""
    outcome = choose_outcome(unready_for(age), [], NOW)
    assert outcome == Outcome(result=Result.WAITING, again_seconds=pause)


def test_the_first_child_that_is_due_brings_it_back() -> None:
    """Each backs off by itself; one that can be retried among final ones makes it a failure."""
    refused, later = failure(422, retry_after=20), failure(429, retry_after=7)
    outcome = choose_outcome(READY, [refused, later], NOW)
    assert outcome == Outcome(result=Result.FAILED, again_seconds=7)
    outcome = choose_outcome(READY, [refused, failure(403, retry_after=5)], NOW)
    assert outcome == Outcome(result=Result.REFUSED, again_seconds=5)


@pytest.mark.parametrize("refused", [failure(422), failure(403)], ids=["invalid", "forbidden"])
def test_a_final_failure_is_tried_seldom(refused: ApplyFailure) -> None:
    """Only somebody's deed can change it."""
    outcome = choose_outcome(READY, [refused], NOW)
    assert outcome == Outcome(result=Result.REFUSED, again_seconds=30)


def test_a_report_that_fails_is_tried_again() -> None:
    """Whether soon depends on why."""
    assert outcome_of(ApiError("down", status=0)).result is Result.FAILED
    assert outcome_of(ApiError("forbidden", status=403)).result is Result.REFUSED
