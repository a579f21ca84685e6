"""Compares what rules said with what was true. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from bench.slo.contestants import Contestant
from bench.slo.replay import Alert, Said
from bench.slo.scenario import DAY, HOUR, MINUTE, Incident, Scenario, Span
from bench.slo.scraping import SCRAPE_SECONDS
from bench.slo.truth import Totals, find_due

BLIND_SECONDS: Final = 5 * MINUTE
"""How long nothing may be measured before somebody is called."""
_LOOKBACK_SECONDS: Final = 5 * MINUTE
# Of a new service, minutes are days' worth of budget: what is recorded settles within days.
_SETTLED_SHARE: Final = 0.1
# Shorter windows still fire for so long after the end of what they fire for.
_TAIL_SECONDS: Final = 30 * MINUTE
_EXHAUSTED: Final = "Exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How far a recorded budget is off, in points (hundredths) of the budget."""

    slo: str
    true_sli: float
    """Share of good events in the last 30 days."""
    true_remaining: float
    recorded: float | None
    """What is left at the month's end; None where there is no number."""
    recorded_sli: float | None
    worst: float | None
    """Of all full hours from a tenth of the month on."""
    unknown_hours: int
    """Hours without a number, of those in which there is a truth."""
    hours: int

    @property
    def error(self) -> float | None:
        """At the month's end."""
        return None if self.recorded is None else abs(self.recorded - self.true_remaining) * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """When an incident was called, in seconds since its begin; None is never."""

    what: str
    slo: str
    call: str
    due: int | None
    """By the Workbook's conditions on the events themselves."""
    bound: int | None
    delay: int | None

    @property
    def in_time(self) -> bool:
        """Whether people were called as soon as can be."""
        return self.delay is not None and self.bound is not None and self.delay <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One contestant in one scenario."""

    budgets: tuple[Budget, ...]
    heard: tuple[Heard, ...]
    pages: int
    false_pages: tuple[Alert, ...]
    tickets: int
    false_tickets: tuple[Alert, ...]

    def describe(self) -> dict[str, Any]:
        """As numbers and texts."""
        numbers = asdict(self)
        for found, budget in zip(numbers["budgets"], self.budgets, strict=True):
            found["error"] = budget.error
        for found, heard in zip(numbers["heard"], self.heard, strict=True):
            found["in_time"] = heard.in_time
        return numbers


def score(
    contestant: Contestant, scenario: Scenario, totals: Mapping[str, Totals], said: Said
) -> Score:
    """Everything about one contestant in one scenario."""
    pages = [it for it in said.alerts if contestant.is_page(it.labels)]
    tickets = [it for it in said.alerts if not contestant.is_page(it.labels)]
    return Score(
        budgets=tuple(
            _score_budget(contestant, scenario, slo, totals[slo], said) for slo in totals
        ),
        heard=tuple(
            _hear(contestant, incident, totals, pages if incident.call == "page" else tickets)
            for incident in scenario.incidents
        ),
        pages=len(pages),
        false_pages=tuple(
            it
            for it in pages
            if not any(_explains(each, contestant, it) for each in scenario.incidents)
        ),
        tickets=len(tickets),
        false_tickets=tuple(it for it in tickets if not _is_due(contestant, it, totals)),
    )


def read_at(samples: Mapping[float, float], at: float) -> float | None:
    """What a query sees at a time: the last sample, unless it is too old or no number."""
    times = [each for each in samples if at - _LOOKBACK_SECONDS < each <= at]
    if not times or math.isnan(value := samples[max(times)]):
        return None
    return value


def _score_budget(
    contestant: Contestant, scenario: Scenario, slo: str, totals: Totals, said: Said
) -> Budget:
    remaining = said.records.get((contestant.remaining, slo), {})
    ratio = said.records.get((contestant.ratio, slo), {})
    first = math.ceil(_SETTLED_SHARE * scenario.days * DAY / HOUR)
    hours = [hour * HOUR for hour in range(first, scenario.length // HOUR + 1)]
    truth = totals.remaining(np.array(hours, dtype=np.int64))
    recorded = _read_all(remaining, hours)
    pairs = [(t, r) for t, r in zip(truth, recorded, strict=True) if not math.isnan(t)]
    errors = [abs(float(t) - r) * 100 for t, r in pairs if r is not None]
    last_ratio = read_at(ratio, scenario.length)
    return Budget(
        slo=slo,
        true_sli=float(1 - (1 - truth[-1]) * totals.budget),
        true_remaining=float(truth[-1]),
        recorded=recorded[-1],
        recorded_sli=None if last_ratio is None else 1 - last_ratio,
        worst=max(errors, default=None),
        unknown_hours=len(pairs) - len(errors),
        hours=len(pairs),
    )


def _read_all(samples: Mapping[float, float], times: Sequence[int]) -> list[float | None]:
    known = np.array(sorted(samples))
    found: list[float | None] = []
    for at in times:
        last = int(np.searchsorted(known, at, side="right")) - 1
        near = {known[last]: samples[known[last]]} if last >= 0 else {}
        found.append(read_at(near, at))
    return found


def _hear(
    contestant: Contestant,
    incident: Incident,
    totals: Mapping[str, Totals],
    alerts: Sequence[Alert],
) -> Heard:
    begin = incident.span.begin
    fired = [it.fired for it in alerts if _explains(incident, contestant, it)]
    due, bound = _bound(contestant, incident, totals)
    return Heard(
        what=incident.what,
        slo=incident.slo,
        call=incident.call,
        due=due,
        bound=bound,
        delay=round(min(fired) - begin) if fired else None,
    )


def _bound(
    contestant: Contestant, incident: Incident, totals: Mapping[str, Totals]
) -> tuple[int | None, int | None]:
    # Between an event and the rule that acts on it: a scrape, and two evaluations.
    overhead = SCRAPE_SECONDS + 2 * contestant.interval_seconds[incident.call]
    if incident.slo == "none":
        return 0, BLIND_SECONDS + overhead
    begin, log = incident.span.begin, totals[incident.slo]
    due = find_due(log, incident.span, incident.call)
    proven = find_due(log, incident.span, incident.call, contestant.evidence)
    if due is None or proven is None:
        return None, None
    wait = contestant.wait_seconds[incident.call]
    return due - begin, proven - begin + wait + overhead


def _explains(incident: Incident, contestant: Contestant, alert: Alert) -> bool:
    """Whether an alert is about an incident."""
    span = Span(begin=incident.span.begin, end=incident.span.end + _TAIL_SECONDS)
    return incident.slo == contestant.reads_slo(alert.labels) and span.holds(alert.fired)


def _is_due(contestant: Contestant, ticket: Alert, totals: Mapping[str, Totals]) -> bool:
    """Whether the events themselves make a ticket due, or exhausted their budget."""
    found = totals.get(contestant.reads_slo(ticket.labels))
    if found is None:
        return False
    at = round(ticket.fired)
    if _EXHAUSTED in ticket.name:
        return bool(found.remaining(np.array([at], dtype=np.int64))[0] <= 0)
    before = Span(begin=max(0, at - HOUR), end=at)
    return find_due(found, before, "ticket") is not None
