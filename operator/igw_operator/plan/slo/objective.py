"""The two objectives of a gateway as data: what counts, what is bad, how much may be bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from igw_operator import conventions
from igw_operator.api.gateway import Slo
from igw_operator.api.objects import Gateway
from igw_operator.plan.slo.names import EVENTS_TOTAL
from igw_operator.plan.slo.promql import render_le, render_number, render_selector

# Counters are read as of some time ago. The samples of a scrape that is under way, which takes
# 10 s at most, are of before the evaluation: who reads up to now misses them for good.
_SETTLED_SECONDS: Final = 15
_BEFORE_SECONDS: Final = _SETTLED_SECONDS + conventions.RULE_INTERVAL_SECONDS
_RECENT: Final = "2m"  # what a pod counted last is read also once the pod is gone
_BRIDGED: Final = "1h"  # who was not scraped for less goes on where it was
_YOUNG_SECONDS: Final = 600
_ENDPOINTS: Final = f'endpoint=~"{conventions.ENDPOINT_PATTERN}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The runtime's counters behind an objective, as PromQL selectors; good or bad is empty."""

    total: str
    good: str = ""
    bad: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective of one gateway, ready to be written into rules."""

    name: str
    labels: Mapping[str, str]
    """The labels of its records: whose it is, which it is, and what it was defined as."""
    target: Decimal
    """Share of good events, 0 to 1."""
    total: str
    """PromQL: events since the evaluation before."""
    bad: str
    """PromQL: bad events since the evaluation before."""
    counters: Counters

    @property
    def budget(self) -> str:
        """Share of events that may be bad, as PromQL writes it."""
        return render_number(1 - self.target)

    def record(self, name: str) -> str:
        """Selector of one of this objective's recorded series."""
        return render_selector(name, self.labels)


def build_identity(gateway: Gateway) -> dict[str, str]:
    """The labels that say whose a series is; scraping puts them there (ServiceMonitor)."""
    return {"namespace": gateway.namespace, "gateway": gateway.name}


def build_objectives(gateway: Gateway) -> tuple[Objective, ...]:
    """Availability and latency."""
    identity = build_identity(gateway)
    return (
        _build_availability(identity, gateway.spec.slo),
        _build_latency(identity, gateway.spec.slo),
    )


def render_bucket(gateway: Gateway) -> str:
    """The bucket that the latency objective is measured by."""
    le = render_le(gateway.spec.slo.latency.threshold_seconds)
    metric = f"{conventions.METRIC_DURATION}_bucket"
    return render_selector(metric, build_identity(gateway), f'le="{le}"')


def _build_availability(identity: Mapping[str, str], slo: Slo) -> Objective:
    # Client errors (also quota, cancelled requests, and deadlines shorter than is promised) are
    # neither good nor bad. Shed and timed-out requests are 5xx.
    labels = {**identity, "slo": "availability"}
    metric = conventions.METRIC_REQUESTS
    total = render_selector(metric, identity, _ENDPOINTS, 'status!="4xx"')
    failed = render_selector(metric, identity, _ENDPOINTS, 'status="5xx"')
    return Objective(
        name="availability",
        labels=labels,
        target=_read_target(slo.availability.objective),
        total=f"sum({_render_events(identity, total)})",
        # Where no request ever failed there is no such series: no errors, not no data.
        bad=f"sum({_render_events(identity, failed)}) or 0 * {_render_recorded_total(labels)}",
        counters=Counters(total=total, bad=failed),
    )


def _build_latency(identity: Mapping[str, str], slo: Slo) -> Objective:
    threshold = slo.latency.threshold_seconds
    # With another threshold it is another measure: the budget starts anew with it.
    labels = {**identity, "slo": "latency", "threshold": render_number(threshold)}
    only = (_ENDPOINTS, 'status="2xx"')  # a fast failure must not look like a good answer
    counter = render_selector(f"{conventions.METRIC_DURATION}_count", identity, *only)
    le = f'le="{render_le(threshold)}"'
    bucket = render_selector(f"{conventions.METRIC_DURATION}_bucket", identity, *only, le)
    answers, fast = (_render_events(identity, each) for each in (counter, bucket))
    return Objective(
        name="latency",
        labels=labels,
        target=_read_target(slo.latency.objective),
        # A new threshold gives running pods a new bucket, one pod after the other. A bucket that
        # has no number of before has no events yet, and then its pod has no answers either:
        # otherwise all of them would read as slow, and every SLO edit would page.
        total=f"sum({answers} and ignoring(le) {fast})",
        # No filler: a missing bucket is no data, and must never read as "all fast".
        bad=f"clamp_min({_render_recorded_total(labels)} - sum({fast}), 0)",
        counters=Counters(total=counter, good=bucket),
    )


def _render_recorded_total(labels: Mapping[str, str]) -> str:
    # Recorded just before, in the same group. The sum drops its labels: with them, `or` would
    # return both of its sides and `-` would find no partner.
    return f"sum({render_selector(EVENTS_TOTAL, labels)})"


def _render_events(identity: Mapping[str, str], counter: str) -> str:
    """What each counter has counted since the evaluation before: its number less its earlier one.

    One evaluation begins where the one before it ended, so that sums of these are exact over any
    time. ``rate`` is not: it guesses at both ends of its window (a counter's first events count
    for less), is late by half of it, and forgets what happened in a gap of its length.
    """
    now = f"last_over_time({counter}[{_RECENT}] offset {_SETTLED_SECONDS}s)"
    before = f"last_over_time({counter}[{_BRIDGED}] offset {_BEFORE_SECONDS}s)"
    started = render_selector(conventions.METRIC_PROCESS_START, identity)
    # Counted less than before, it began anew, and all that it has is new.
    counted = f"{now} - {before} * ({before} <= bool {now})"
    # So it is where a process began and was not scraped yet. An old process that was not scraped
    # yet is one of which Prometheus knew nothing, or by other labels.
    begun = f"{now} and on(namespace, gateway, pod) ({started} > time() - {_YOUNG_SECONDS})"
    return f"({counted} or {begun})"


def _read_target(percent: float) -> Decimal:
    # Through its text: 99.95 means what it says, not the double next to it.
    return Decimal(str(percent)) / 100
