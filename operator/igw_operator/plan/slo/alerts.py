"""The alerts: when somebody is called, and what they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from igw_operator import conventions
from igw_operator.api.windows import BurnTier, Window
from igw_operator.errors import FieldError, SpecError
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.slo.drill import DRILL_LENGTH, Drill
from igw_operator.plan.slo.names import (
    BUDGET_REMAINING,
    COVERAGE,
    EVENTS_BAD,
    TILE_BAD,
    ratio_name,
)
from igw_operator.plan.slo.objective import Objective, build_identity, render_bucket
from igw_operator.plan.slo.promql import render_number, render_selector
from igw_operator.plan.slo.records import (
    TILE_SECONDS,
    Rule,
    render_event_count,
    render_seen_samples,
    render_seen_tiles,
    render_tile_count,
)

AVAILABILITY_BURN: Final = "InferenceGatewayAvailabilityBudgetBurn"
LATENCY_BURN: Final = "InferenceGatewayLatencyBudgetBurn"
BUDGET_EXHAUSTED: Final = "InferenceGatewayErrorBudgetExhausted"
METRICS_ABSENT: Final = "InferenceGatewayMetricsAbsent"
OPERATOR_BLIND: Final = "InferenceGatewayOperatorBlind"
BUCKET_MISSING: Final = "InferenceGatewayLatencyBucketMissing"
ALERT_DRILL: Final = "InferenceGatewayAlertDrill"

# Each has a page of its name among the runbooks.
ALERT_NAMES: Final = (
    AVAILABILITY_BURN,
    LATENCY_BURN,
    BUDGET_EXHAUSTED,
    METRICS_ABSENT,
    OPERATOR_BLIND,
    BUCKET_MISSING,
    ALERT_DRILL,
)

# A burn rate needs at least so many bad events behind it. One failure among six requests an
# hour is a burn of 33, and no reason to wake anybody. Counting requests instead would also
# hide a total outage of a quiet service.
MIN_BAD_EVENTS: Final = 10
# The budget is only called exhausted once this share of its window has been seen: in its
# first hour, a new gateway's whole history is one bad minute.
MIN_COVERAGE: Final = "0.1"
MIN_DAY_OF_MONTH: Final = 3
DASHBOARD_PATH: Final = "/d/igw-gateway"
# In the base of the runbooks' addresses: where the alert's name goes, such as before ".md".
RUNBOOK_PLACE: Final = "{alert}"

_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WHO: Final = "{{ $labels.namespace }}/{{ $labels.gateway }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alert:
    name: str
    expression: str
    severity: str
    summary: str
    description: str
    wait: str = "0s"
    labels: Mapping[str, str] = field(default_factory=dict)


def build_burn_alert(inputs: PlanInput, objective: Objective, speed: str) -> Rule:
    """The burn alert of one objective: ``fast`` wakes somebody, ``slow`` makes a ticket."""
    window = inputs.gateway.spec.slo.window
    tiers = [tier for tier in window.tiers if tier.speed == speed]
    expression = " or ".join(f"({_render_tier(tier, objective, window)})" for tier in tiers)
    fast = speed == "fast"
    alert = _Alert(
        name={"availability": AVAILABILITY_BURN, "latency": LATENCY_BURN}[objective.name],
        expression=expression,
        wait="2m" if fast else "15m",
        severity="critical" if fast else "warning",
        summary=f"A gateway spends its {objective.name} budget too {speed}."
        if fast
        else f"A gateway spends its {objective.name} budget slowly but steadily.",
        # $value is the left operand of the `and`s: the burn rate over the long window.
        description=f"{_WHO} spends its {objective.name} error budget {{{{ $value | humanize }}}} "
        f"times as fast as its objective of {render_number(objective.target * 100)}% over "
        f"{window.text} allows.",
        # By these Alertmanager keeps to one alert an incident (manifests/monitoring): a fast
        # burn inhibits the slow one and the exhausted budget of its namespace, gateway and slo.
        labels={"slo": objective.name, "burn": speed},
    )
    return _build_alert(inputs, alert)


def build_exhausted_alert(inputs: PlanInput, objective: Objective) -> Rule:
    """The budget of the window is gone."""
    window = inputs.gateway.spec.slo.window
    conditions = [
        f"{objective.record(BUDGET_REMAINING)} <= 0",
        f"{objective.record(COVERAGE)} >= {MIN_COVERAGE}",
    ]
    if window.is_calendar:
        # Covered is what is over of the month, and on its first day that is next to nothing.
        conditions.append(f"on() (day_of_month() > {MIN_DAY_OF_MONTH})")
    alert = _Alert(
        name=BUDGET_EXHAUSTED,
        expression=" and ".join(conditions),
        wait="15m",
        severity="warning",
        summary="A gateway has no error budget left.",
        description=f"{_WHO} has {{{{ $value | humanizePercentage }}}} of its {objective.name} "
        f"error budget left for {window.text}.",
        labels={"slo": objective.name},
    )
    return _build_alert(inputs, alert)


def build_blindness_alerts(inputs: PlanInput) -> list[Rule]:
    """What the objectives cannot see: they are silent when nothing is measured."""
    identity = build_identity(inputs.gateway)
    requests = render_selector(conventions.METRIC_REQUESTS, identity)
    desired = render_selector(conventions.METRIC_DESIRED_REPLICAS, identity)
    count = render_selector(f"{conventions.METRIC_DURATION}_count", identity)
    unmeasured = f"{count} unless ignoring(le) {render_bucket(inputs.gateway)}"
    alerts = (
        _Alert(
            name=METRICS_ABSENT,
            # The runtime creates its series at its start: absent means not scraped, or that
            # nothing runs, and not quiet. Scaled to zero it is meant to be absent.
            expression=f"absent({requests}) and on(namespace, gateway) ({desired} > 0)",
            wait="5m",
            severity="critical",
            summary="A gateway that should run sends no metrics.",
            description=f"{_WHO} should run, yet Prometheus has no request metrics of it: it is "
            "down, or it is not scraped. Its objectives are blind.",
        ),
        _Alert(
            name=OPERATOR_BLIND,
            expression=f"absent({desired})",
            wait="15m",
            severity="warning",
            summary="The operator reports nothing about a gateway.",
            description=f"The operator's metrics about {_WHO} are missing: it is down, or it is "
            "not scraped. An outage of the gateway could go unnoticed.",
        ),
        _Alert(
            name=BUCKET_MISSING,
            # Pod by pod: those without the bucket are left out of the objective, silently.
            expression="count by(namespace, gateway) "
            f"(count by(namespace, gateway, pod) ({unmeasured})) > 0",
            wait="10m",
            severity="warning",
            summary="The latency of some pods of a gateway cannot be measured.",
            description=f"{{{{ $value }}}} pods of {_WHO} have no latency bucket at its threshold "
            f"of {inputs.gateway.spec.slo.latency.threshold}: the runtime did not take over its "
            "settings. The latency objective does not see these pods.",
        ),
    )
    return [_build_alert(inputs, alert) for alert in alerts]


def build_drill_alert(inputs: PlanInput, drill: Drill) -> Rule:
    """An alert that means nothing, with all that makes a page find its way to somebody."""
    seconds_left = f"{int(drill.ends_at.timestamp())} - vector(time())"
    alert = _Alert(
        name=ALERT_DRILL,
        # Not before its time, and not after it: whoever forgets the annotation is not called again.
        expression=f"({seconds_left} > 0) <= {int(DRILL_LENGTH.total_seconds())}",
        severity="critical",
        summary="A drill: somebody tries whether pages of a gateway arrive. Nothing is wrong.",
        # A number has no labels that a template could read.
        description=f"{inputs.gateway.key} has a drill, asked for at {drill.name}. Nothing is "
        "wrong, and it ends by itself in {{ $value | humanizeDuration }}.",
        labels={conventions.ALERT_LABEL_DRILL: drill.name},
    )
    return _build_alert(inputs, alert)


def _render_tier(tier: BurnTier, objective: Objective, window: Window) -> str:
    factor = render_number(tier.factor(window.days))
    # The long window says that it matters, the short one that it still goes on.
    burns = (
        f"{objective.record(ratio_name(each))} / {objective.budget} > {factor}"
        for each in (tier.long_window, tier.short_window)
    )
    return " and ".join((*burns, *_render_evidence(tier, objective)))


def _render_evidence(tier: BurnTier, objective: Objective) -> tuple[str, ...]:
    # A new gateway's first minutes are all that its hours and days hold: its first answer may be
    # slow. It waits until there is as much history as the short window is long.
    if tier.speed == "fast":
        bad = render_event_count(EVENTS_BAD, objective, tier.long_window)
        seen = render_seen_samples(objective, tier.long_window)
        enough = tier.short_seconds // conventions.RULE_INTERVAL_SECONDS
    else:
        bad = render_tile_count(TILE_BAD, objective, tier.long_window)
        seen = render_seen_tiles(objective, tier.long_window)
        enough = tier.short_seconds // TILE_SECONDS
    return (f"{bad} >= {MIN_BAD_EVENTS}", f"{seen} >= {enough}")


def _build_alert(inputs: PlanInput, alert: _Alert) -> Rule:
    gateway = inputs.gateway
    alerting = gateway.spec.slo.alerting
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.wait,
        # The user's first: routing may be added, but whose alert it is stays true.
        "labels": {
            **_check_label_names(alerting.labels),
            **build_identity(gateway),
            **alert.labels,
            "severity": alert.severity,
        },
        "annotations": {
            **alerting.annotations,
            "summary": alert.summary,
            "description": alert.description,
            **_build_links(inputs, alert.name),
        },
    }


def _build_links(inputs: PlanInput, alert: str) -> dict[str, str]:
    """Where to look; without a base there is no link rather than one that leads nowhere."""
    links = {
        "runbook_url": _locate_runbook(inputs, alert),
        "dashboard_url": _locate_dashboard(inputs),
    }
    return {name: url for name, url in links.items() if url is not None}


def _locate_runbook(inputs: PlanInput, alert: str) -> str | None:
    own, base = inputs.gateway.spec.slo.alerting.runbook_url, inputs.defaults.runbook_base_url
    if own is not None:
        # A team's own is one page with a heading for each alert.
        return f"{own}#{alert}"
    if RUNBOOK_PLACE in base:
        return base.replace(RUNBOOK_PLACE, alert)
    return f"{base}/{alert}" if base else None


def _locate_dashboard(inputs: PlanInput) -> str | None:
    if not inputs.defaults.grafana_url:
        return None
    identity = build_identity(inputs.gateway)
    query = urlencode({f"var-{label}": value for label, value in identity.items()})
    return f"{inputs.defaults.grafana_url}{DASHBOARD_PATH}?{query}"


def _check_label_names(labels: Mapping[str, str]) -> Mapping[str, str]:
    """One bad name would have Prometheus refuse all the rules, without a word to the user."""
    errors = [
        FieldError(
            f"spec.slo.alerting.labels[{name}]",
            "is no Prometheus label name: use letters, digits and _ only, such as team",
        )
        for name in labels
        if not _LABEL_NAME.fullmatch(name) or name == "__name__"
    ]
    if errors:
        raise SpecError(errors)
    return labels
