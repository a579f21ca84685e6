"""What a reconcile came to: done, or when to come back. Waiting is a value, not an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from igw_operator.errors import ApiError
from igw_operator.judge.snapshot import ApplyFailure

# Some causes end without an event that we would see: a quota is raised, a foreign object
# goes. A young trouble is looked at often, an old one seldom.
_SOONEST_SECONDS: Final = 10.0
_LATEST_SECONDS: Final = 300.0
_AGE_SHARE: Final = 0.25
_FINAL_SECONDS: Final = 30.0
_SOON_SECONDS: Final = 1.0


class Result(StrEnum):
    """How a reconcile ended; the label of its metric."""

    DONE = "done"  # nothing to wait for
    WAITING = "waiting"  # all is written, the world has yet to follow
    REFUSED = "refused"  # the same request can only fail again until somebody acts
    FAILED = "failed"  # worth another try
    CRASHED = "crashed"  # a bug of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one reconcile and what follows from it."""

    result: Result = Result.DONE
    again_seconds: float | None = None
    """Look again after so long. None: when something happens, or a failure has backed off."""
    at_least_seconds: float = 0.0
    """Where a failure backs off: no sooner than that."""

    @property
    def is_failure(self) -> bool:
        """Whether the key has to back off."""
        return self.result in {Result.REFUSED, Result.FAILED, Result.CRASHED}


def choose_outcome(
    status: Mapping[str, Any], failures: Sequence[ApplyFailure], now: datetime
) -> Outcome:
    """The outcome of a reconcile that ended with this status and these failures."""
    errors = [failure.error for failure in failures]
    if errors:
        # Each child backs off by itself; the first that is due brings us back.
        pauses = [_pause_of(error) for error in errors]
        is_final = all(error.is_final for error in errors)
        result = Result.REFUSED if is_final else Result.FAILED
        return Outcome(result=result, again_seconds=min(pauses))
    ready = _find_condition(status, "Ready")
    if ready.get("status") == "True":
        return Outcome()
    return Outcome(result=Result.WAITING, again_seconds=_choose_pause(ready, now))


def outcome_of(error: ApiError) -> Outcome:
    """The outcome of a reconcile that could not even report."""
    if error.is_final:
        return Outcome(result=Result.REFUSED, at_least_seconds=_FINAL_SECONDS)
    return Outcome(result=Result.FAILED, at_least_seconds=error.retry_after_seconds or 0.0)


def _pause_of(error: ApiError) -> float:
    if error.retry_after_seconds is not None:
        return error.retry_after_seconds
    return _FINAL_SECONDS if error.is_final else _SOON_SECONDS


def _choose_pause(ready: Mapping[str, Any], now: datetime) -> float:
    since = ready.get("lastTransitionTime")
    if not since:
        return _SOONEST_SECONDS
    age = (now - datetime.fromisoformat(since)).total_seconds()
    return min(max(age * _AGE_SHARE, _SOONEST_SECONDS), _LATEST_SECONDS)


def _find_condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((it for it in conditions if it.get("type") == kind), {})
