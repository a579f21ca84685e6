"""Verdicts as conditions: their types, their order, and when their time moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from igw_operator.api.fields import render_time
from igw_operator.api.status import Condition
from igw_operator.judge.finding import Truth, Verdict
from igw_operator.judge.reasons import CHOSEN, WAITING


class ConditionType(StrEnum):
    """Every condition, in the order in which they are written."""

    READY = "Ready"  # the gateway is as asked for
    RECONCILING = "Reconciling"  # it is not, and time may cure it (only while True)
    STALLED = "Stalled"  # it is not, and somebody has to do something (only while True)
    AVAILABLE = "Available"  # at least one replica answers
    ROUTE_READY = "RouteReady"  # its Gateways lead requests to it (only where asked for)
    SCALING_READY = "ScalingReady"  # the number of replicas follows what is asked for
    MONITORING_READY = "MonitoringReady"  # a Prometheus scrapes it and evaluates its rules
    TELEMETRY_READY = "TelemetryReady"  # spans have somewhere to go
    SLO_MET = "SLOMet"  # the error budgets hold
    ALERT_DRILL_SEEN = "AlertDrillSeen"  # the alert drill arrived (only where one is asked for)
    ROLLOUT_HELD = "RolloutHeld"  # a change of the pods waits for permission


_ABNORMAL_TRUE: Final = {
    ConditionType.RECONCILING,
    ConditionType.STALLED,
    ConditionType.ROLLOUT_HELD,
}


def build_conditions(
    verdicts: Mapping[ConditionType, Verdict],
    *,
    previous: Mapping[str, Any],
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions; ``previous`` is the status that they follow."""
    before = conditions_by_type(previous)
    stamp = render_time(now)
    return tuple(
        Condition(
            type=kind.value,
            status=verdict.truth.value,
            observed_generation=generation,
            last_transition_time=_time_of_flip(before.get(kind, {}), verdict, stamp),
            reason=verdict.finding.reason.value,
            message=verdict.finding.message,
        )
        for kind, verdict in sorted(verdicts.items(), key=lambda item: _ORDER.index(item[0]))
    )


_ORDER: Final = tuple(ConditionType)


def _time_of_flip(before: Mapping[str, Any], verdict: Verdict, now: str) -> str:
    time = before.get("lastTransitionTime")
    unmoved = before.get("status") == verdict.truth and isinstance(time, str)
    return str(time) if unmoved else now


def conditions_by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of a status, whoever wrote it."""
    return {entry["type"]: entry for entry in status.get("conditions") or ()}


def is_trouble(kind: str, status: str, reason: str) -> bool:
    """Whether somebody should look: not as asked for, not on its way, not chosen so."""
    if kind in _ABNORMAL_TRUE:
        return status == Truth.TRUE and reason not in WAITING
    return status == Truth.FALSE and reason not in WAITING | CHOSEN


def is_well(kind: str, status: str) -> bool:
    """Whether the condition says that all is as it should be."""
    return status == (Truth.FALSE if kind in _ABNORMAL_TRUE else Truth.TRUE)
