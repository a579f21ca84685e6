"""The alert drill: one alert, at a time that somebody asks for, on the way that pages take.

An annotation of the gateway has the time. The alert is a rule beside all others, which Prometheus
evaluates and sends as it does these, and which ends by itself: the rule has the time in it. So
nothing has to be undone, and what is built depends on no clock. ``judge.drill`` says what became
of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from igw_operator import conventions
from igw_operator.api.fields import render_time
from igw_operator.api.objects import Gateway

# Long enough for a mounted file to reach Prometheus (a minute or two), for an Alertmanager that
# waits before it notifies, and for somebody to find the page and look.
DRILL_LENGTH: Final = timedelta(minutes=15)
_MARGIN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill that is asked for."""

    begins_at: datetime

    @property
    def ends_at(self) -> datetime:
        """When it ends by itself."""
        return self.begins_at + DRILL_LENGTH

    @property
    def name(self) -> str:
        """The value of the alert's label: each drill is an alert of its own."""
        return render_time(self.begins_at)


def find_drill(gateway: Gateway) -> Drill | None:
    """The drill that a gateway asks for; None: it asks for none that can be done."""
    time = _read_time(gateway)
    return None if time is None or _find_obstacle(gateway) else Drill(time)


def check_drill(gateway: Gateway) -> str:
    """Why the drill that a gateway asks for cannot be done; empty: it can, or none is asked for."""
    value = gateway.annotations.get(conventions.ANNOTATION_ALERT_DRILL)
    if value is None:
        return ""
    if _read_time(gateway) is None:
        return f"{value[:50]!r} is no time with a zone, such as 2026-03-04T12:00:00Z"
    return _find_obstacle(gateway)


def _find_obstacle(gateway: Gateway) -> str:
    if not gateway.spec.observability.metrics.enabled:
        return "spec.observability.metrics.enabled is false, so there are no rules"
    if not gateway.spec.slo.alerting.enabled:
        return "spec.slo.alerting.enabled is false, so there are no alerts"
    return ""


def _read_time(gateway: Gateway) -> datetime | None:
    try:
        time = datetime.fromisoformat(gateway.annotations[conventions.ANNOTATION_ALERT_DRILL])
        if time.tzinfo is None:
            return None
        # A while before and after it there has to be time, too, for whoever looks at it.
        for distance in (-_MARGIN, _MARGIN):
            _ = time.astimezone(UTC) + distance
        return time.astimezone(UTC).replace(microsecond=0)
    except (KeyError, ValueError, OverflowError):
        return None
