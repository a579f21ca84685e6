"""Which changes of a status are worth a Kubernetes Event.

Events are for transitions that somebody would want to read in `kubectl describe`: trouble,
its end, and the first success. What is only on its way makes none, nor does the autoscaler's
daily work; states live in the conditions (kserve PR#5540: events flood).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from igw_operator.judge.conditions import (
    ConditionType,
    conditions_by_type,
    is_trouble,
    is_well,
)
from igw_operator.judge.reasons import Reason

BUDGET_RESTARTED: Final = "BudgetRestarted"
_NOTE_LIMIT: Final = 1024  # of events.k8s.io/v1
# Coming back from these to Ready is routine.
_ROUTINE: Final = {Reason.REPLICAS_STARTING, Reason.SCALING}
_NOTHING: Final[Mapping[str, Any]] = {"status": "", "reason": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event before it has a time and a place."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


def transitions(
    old_status: Mapping[str, Any] | None, new_status: Mapping[str, Any]
) -> list[EventDraft]:
    """The events between two statuses; of several with one reason, the first."""
    old = conditions_by_type(old_status or {})
    drafts: dict[str, EventDraft] = {}
    for kind, entry in conditions_by_type(new_status).items():
        for draft in _draft(kind, old.get(kind, _NOTHING), entry):
            drafts.setdefault(draft.reason, draft)
    return [*drafts.values(), *_draft_new_budgets(old_status or {}, new_status)]


def _draft_new_budgets(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[EventDraft]:
    """With another threshold it is another measure, and its budget begins anew."""
    before = {slo["name"]: slo.get("threshold") for slo in old.get("slo") or ()}
    for slo in new.get("slo") or ():
        name, threshold = slo["name"], slo.get("threshold")
        if name in before and before[name] != threshold:
            note = (
                f"The {name} objective is measured at {threshold} instead of {before[name]}: its "
                "error budget begins anew, and what was spent before does not count"
            )
            yield EventDraft(type="Normal", reason=BUDGET_RESTARTED, note=note)


def _draft(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[EventDraft]:
    before, after = (old["status"], old["reason"]), (new["status"], new["reason"])
    if before == after:
        return
    note = f"{kind} is {new['status']}: {new['message']}"[:_NOTE_LIMIT]
    if is_trouble(kind, *after):
        yield EventDraft(type="Warning", reason=new["reason"], note=note)
    elif is_well(kind, new["status"]) and (is_trouble(kind, *before) or _is_success(kind, old)):
        yield EventDraft(type="Normal", reason=new["reason"], note=note)


def _is_success(kind: str, old: Mapping[str, Any]) -> bool:
    if kind == ConditionType.ALERT_DRILL_SEEN:
        return True
    return kind == ConditionType.READY and old["reason"] not in _ROUTINE
