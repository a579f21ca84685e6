"""The objectives as Prometheus has measured them: `status.slo`, BUDGET and SLOMet.

Numbers are Prometheus' own and follow it in steps (``steps``); where nothing new is known, what
stands there stays. No traffic is neither success nor failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from igw_operator.api.fields import render_time
from igw_operator.api.objects import Gateway
from igw_operator.api.status import SloStatus
from igw_operator.judge.finding import Truth, Verdict, say
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Reading, SloReading
from igw_operator.judge.steps import derive_sli, read_percent, step_budget, step_burn, step_coverage
from igw_operator.plan.slo.alerts import MIN_COVERAGE

FROM_READINGS: Final = frozenset(
    {
        Reason.WITHIN_BUDGET,
        Reason.BUDGET_EXHAUSTED,
        Reason.TOO_LITTLE_HISTORY,
        Reason.NO_TRAFFIC,
        Reason.NO_DATA,
        Reason.PROMETHEUS_UNREACHABLE,
    }
)
"""Reasons that stay as they are for as long as a new process has no reading."""
_IDENTITY: Final = ("name", "threshold", "window")
_MIN_COVERAGE_PERCENT: Final = Decimal(MIN_COVERAGE) * 100


def report_objectives(
    gateway: Gateway, reading: Reading | None, previous: Mapping[str, Any]
) -> tuple[SloStatus, ...]:
    """``status.slo``; ``previous`` is the status that it follows."""
    slo = gateway.spec.slo
    asked = (
        SloStatus(
            name="availability",
            objective=_render_percent(slo.availability.objective),
            window=slo.window.value,
        ),
        SloStatus(
            name="latency",
            objective=_render_percent(slo.latency.objective),
            threshold=slo.latency.threshold,
            window=slo.window.value,
        ),
    )
    if not gateway.spec.observability.metrics.enabled:
        return asked
    return tuple(_report(each, reading, _find_before(each, previous)) for each in asked)


def find_budget(slos: Sequence[SloStatus]) -> str | None:
    """The least budget of all."""
    budgets = [slo.budget_remaining for slo in slos if slo.budget_remaining is not None]
    return min(budgets, key=read_percent) if budgets else None


def judge_objectives(
    gateway: Gateway, reading: Reading | None, slos: Sequence[SloStatus], carried: Verdict | None
) -> Verdict:
    """Whether the error budgets hold, by the numbers that the status shows."""
    if not gateway.spec.observability.metrics.enabled:
        text = "Without metrics there is nothing to measure the objectives by"
        return say(Truth.UNKNOWN, Reason.MONITORING_DISABLED, text)
    if reading is None:
        text = "The objectives have not been measured yet"
        return carried or say(Truth.UNKNOWN, Reason.NO_DATA, text)
    if reading.error:
        text = f"{reading.server} does not answer; the numbers are as it last gave them"
        return say(Truth.UNKNOWN, Reason.PROMETHEUS_UNREACHABLE, text, _look(gateway))
    return _judge_numbers(gateway, reading, slos)


def _judge_numbers(gateway: Gateway, reading: Reading, slos: Sequence[SloStatus]) -> Verdict:
    spent = [slo for slo in slos if _is_spent(slo)]
    if spent:
        # What is known to be spent goes before what may only have begun badly.
        worst = min(spent, key=lambda slo: (not _is_known(slo), read_percent(_budget(slo))))
        return _judge_spent(gateway, worst)
    unmeasured = [slo.name for slo in slos if slo.budget_remaining is None]
    if not unmeasured:
        left = " and ".join(f"{slo.budget_remaining} of the {slo.name} budget" for slo in slos)
        text = f"For {gateway.spec.slo.window.text} there is {left} left"
        return say(Truth.TRUE, Reason.WITHIN_BUDGET, text)
    if reading.are_rules_loaded:
        text = f"No request has counted for {' and '.join(unmeasured)} yet"
        return say(Truth.UNKNOWN, Reason.NO_TRAFFIC, text)
    text = f"Nothing is recorded of {' and '.join(unmeasured)}: see MonitoringReady"
    return say(Truth.UNKNOWN, Reason.NO_DATA, text)


def _judge_spent(gateway: Gateway, slo: SloStatus) -> Verdict:
    within = f" within {slo.threshold}" if slo.threshold else ""
    text = (
        f"{slo.budget_remaining} of the {slo.name} budget is left: {slo.sli} of {slo.objective}"
        f"{within} over {gateway.spec.slo.window.text}"
    )
    if slo.burn_rate is not None:
        text = f"{text}, spent at {slo.burn_rate} times the speed that lasts"
    if not _is_known(slo):
        text = f"{text}; only {slo.window_coverage} of the window is known"
        return say(Truth.UNKNOWN, Reason.TOO_LITTLE_HISTORY, text, _look(gateway))
    return say(Truth.FALSE, Reason.BUDGET_EXHAUSTED, text, _look(gateway))


def _look(gateway: Gateway) -> str:
    return f"kubectl get igw {gateway.name} -n {gateway.namespace} -o jsonpath='{{.status.slo}}'"


def _is_spent(slo: SloStatus) -> bool:
    return slo.budget_remaining is not None and read_percent(slo.budget_remaining) <= 0


def _is_known(slo: SloStatus) -> bool:
    """Whether there is as much history as the alert of an exhausted budget asks for."""
    return (
        slo.window_coverage is not None
        and read_percent(slo.window_coverage) >= _MIN_COVERAGE_PERCENT
    )


def _budget(slo: SloStatus) -> str:
    return slo.budget_remaining or "0%"


def _find_before(slo: SloStatus, previous: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of the same budget: with another threshold or window it is another one."""
    same = slo.model_dump(by_alias=True, include=set(_IDENTITY), exclude_none=True)
    for entry in previous.get("slo") or ():
        if {key: entry[key] for key in _IDENTITY if key in entry} == same:
            return dict(entry)
    return {}


def _report(slo: SloStatus, reading: Reading | None, before: Mapping[str, Any]) -> SloStatus:
    if reading is None or reading.error:
        if before.get("objective") != slo.objective:
            return slo  # of another objective another share is left, which nobody has told yet
        known = (before.get(key) for key in ("budgetRemaining", "burnRate", "windowCoverage"))
        return _fill(slo, *known, as_of=before.get("asOf"))
    measured = next((it for it in reading.slos if it.name == slo.name), SloReading(name=slo.name))
    budget = step_budget(before.get("budgetRemaining"), measured.budget_remaining)
    burn = step_burn(before.get("burnRate"), measured.burn_rate)
    coverage = step_coverage(before.get("windowCoverage"), measured.coverage)
    news = _fill(slo, budget, burn, coverage, as_of=before.get("asOf"))
    is_news = any(
        before.get(key) != value
        for key, value in (
            ("budgetRemaining", budget),
            ("burnRate", burn),
            ("windowCoverage", coverage),
        )
    )
    if is_news and reading.as_of is not None:
        return news.model_copy(update={"as_of": render_time(reading.as_of)})
    return news


def _fill(
    slo: SloStatus,
    budget: str | None,
    burn: str | None,
    coverage: str | None,
    *,
    as_of: str | None,
) -> SloStatus:
    objective = read_percent(slo.objective)
    is_measured = any(it is not None for it in (budget, burn, coverage))
    return slo.model_copy(
        update={
            "sli": None if budget is None else derive_sli(objective, budget),
            "budget_remaining": budget,
            "burn_rate": burn,
            "window_coverage": coverage,
            "as_of": as_of if is_measured else None,
        }
    )


def _render_percent(percent: float) -> str:
    # Through its text: 99.95 means what it says, not the double next to it.
    return f"{Decimal(str(percent)).normalize():f}%"
