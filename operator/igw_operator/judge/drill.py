"""AlertDrillSeen and ``status.alertDrill``: what became of the alert drill that was asked for.

Somebody wants to know whether a page would arrive, so only what was seen counts: Prometheus fires
the alert, an Alertmanager has it and passes it on. Whether the receiver then rings is for people
to say. What was not seen is False only where somebody looked all the time; else it is Unknown.
What is known at the end stays, for as long as the annotation does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.fields import render_time
from igw_operator.api.objects import Gateway
from igw_operator.api.status import AlertDrillStatus
from igw_operator.judge import prose
from igw_operator.judge.conditions import ConditionType, conditions_by_type
from igw_operator.judge.finding import Truth, Verdict, say
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import DrillReading, Reading, Snapshot
from igw_operator.plan.slo.alerts import ALERT_DRILL
from igw_operator.plan.slo.drill import Drill, check_drill, find_drill

_FINAL: Final = frozenset(
    {
        Reason.DRILL_DELIVERED,
        Reason.DRILL_FIRED,
        Reason.DRILL_KEPT_BACK,
        Reason.DRILL_NOT_DELIVERED,
        Reason.DRILL_NOT_SEEN,
    }
)
"""What stays once a drill is over."""
_FROM_READINGS: Final = _FINAL | {Reason.DRILL_PENDING}
"""What stays for as long as a new process has no reading."""


def report_drill(snapshot: Snapshot, previous: Mapping[str, Any]) -> AlertDrillStatus | None:
    """``status.alertDrill``; ``previous`` is the status that it follows."""
    gateway = snapshot.gateway
    drill = None if gateway is None else find_drill(gateway)
    if drill is None:
        return None
    before = _find_before(drill.name, previous)
    seen = snapshot.reading.drill if snapshot.reading is not None else None
    if seen is None or (seen.is_over and seen.firing_at is None and before is None):
        # Nobody has looked: that it is written down would say that somebody did.
        return before
    before = before or AlertDrillStatus(requested_at=drill.name)
    delivered_at = None if seen.kept_back else seen.delivered_at
    return before.model_copy(
        update={
            "firing_at": before.firing_at or _render(seen.firing_at),
            "delivered_at": before.delivered_at or _render(delivered_at),
        }
    )


def judge_drill(snapshot: Snapshot, previous: Mapping[str, Any]) -> Verdict | None:
    """Whether the drill was seen; None: none is asked for."""
    gateway = snapshot.gateway
    if gateway is None:
        return None
    obstacle = check_drill(gateway)
    drill = find_drill(gateway)
    if drill is not None and not snapshot.capabilities.prometheus_rules:
        obstacle = "the cluster has no PrometheusRules"
    if obstacle:
        text = f"The alert drill that is asked for cannot be done: {obstacle}"
        return say(Truth.FALSE, Reason.DRILL_REFUSED, text, _ask_again(gateway))
    return None if drill is None else _judge_asked(gateway, drill, snapshot.reading, previous)


def _judge_asked(
    gateway: Gateway, drill: Drill, reading: Reading | None, previous: Mapping[str, Any]
) -> Verdict:
    before = _find_before(drill.name, previous)
    said = _find_said(drill.name, previous)
    if said is not None and said.finding.reason is Reason.DRILL_DELIVERED:
        return said
    asked = f"{ALERT_DRILL} is asked for at {drill.name}"
    if reading is None or reading.drill is None:
        text = f"{asked}; nobody has looked yet"
        return said or say(Truth.UNKNOWN, Reason.DRILL_PENDING, text)
    seen = reading.drill
    if seen.is_over and said is not None and said.finding.reason in _FINAL:
        return said
    if seen.firing_at is not None:
        is_watched = before is not None and before.firing_at is not None
        return _judge_fired(gateway, seen, asked, is_watched=is_watched)
    if not seen.is_over:
        text = f"{asked}; no Prometheus is known to fire it yet"
        return say(Truth.UNKNOWN, Reason.DRILL_PENDING, text)
    text = f"{asked}, its time is over, and no Prometheus was seen to fire it"
    is_known = before is not None and bool(reading.server) and not reading.error
    truth = Truth.FALSE if is_known else Truth.UNKNOWN
    return say(truth, Reason.DRILL_NOT_SEEN, f"{text}: see MonitoringReady", _look(gateway))


def _judge_fired(gateway: Gateway, seen: DrillReading, asked: str, *, is_watched: bool) -> Verdict:
    fired = f"{asked}; {seen.server} fired it at {_render(seen.firing_at)}"
    if seen.delivered_at is not None:
        has_it = (
            f"{fired}, and Alertmanager {seen.receiver} had received it by "
            f"{_render(seen.delivered_at)}"
        )
        if seen.kept_back:
            text = f"{has_it}, but notifies nobody: it is {seen.kept_back}"
            return say(Truth.FALSE, Reason.DRILL_KEPT_BACK, text, _look(gateway))
        text = f"{has_it}, for {_name_receivers(seen.routed_to)}"
        return say(Truth.TRUE, Reason.DRILL_DELIVERED, text)
    if seen.problem:
        text = f"{fired}; whether an Alertmanager has it is not known: {prose.tidy(seen.problem)}"
        return say(Truth.UNKNOWN, Reason.DRILL_FIRED, text)
    none = (
        f"none of the {prose.counted(seen.alertmanagers, 'Alertmanager')} that it sends to has it"
        if seen.alertmanagers
        else "it knows no Alertmanager to send it to"
    )
    if not seen.is_over:
        return say(Truth.UNKNOWN, Reason.DRILL_PENDING, f"{fired}, and {none} yet")
    if not is_watched:
        text = f"{fired}; nobody asked an Alertmanager in time"
        return say(Truth.UNKNOWN, Reason.DRILL_FIRED, text)
    return say(Truth.FALSE, Reason.DRILL_NOT_DELIVERED, f"{fired}, and {none}", _look(gateway))


def _find_before(name: str, previous: Mapping[str, Any]) -> AlertDrillStatus | None:
    """What a status says of the same drill, whoever wrote it."""
    before = previous.get("alertDrill")
    if not isinstance(before, Mapping) or before.get("requestedAt") != name:
        return None
    return AlertDrillStatus(
        requested_at=name,
        firing_at=_read(before.get("firingAt")),
        delivered_at=_read(before.get("deliveredAt")),
    )


def _find_said(name: str, previous: Mapping[str, Any]) -> Verdict | None:
    """What the condition says of the same drill, where it is of a reading."""
    before = conditions_by_type(previous).get(ConditionType.ALERT_DRILL_SEEN) or {}
    said = next((it for it in _FROM_READINGS if it == before.get("reason")), None)
    if said is None or name not in before["message"]:
        return None
    return say(Truth(before["status"]), said, before["message"])


def _name_receivers(names: tuple[str, ...]) -> str:
    return f"receiver {' and '.join(names)}" if names else "no receiver"


def _look(gateway: Gateway) -> str:
    return f"kubectl describe igw {gateway.name} -n {gateway.namespace}"


def _ask_again(gateway: Gateway) -> str:
    now = '"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    name = conventions.ANNOTATION_ALERT_DRILL
    return f"kubectl annotate igw {gateway.name} -n {gateway.namespace} --overwrite {name}={now}"


def _render(time: datetime | None) -> str | None:
    return None if time is None else render_time(time)


def _read(text: object) -> str | None:
    return text if isinstance(text, str) else None
