"""Looks for alert drills: in a Prometheus, and in the Alertmanagers that it sends alerts to.

``world.monitoring`` asks for them in its rounds while any gateway has a drill: one more query of
each server, and one call of each of its Alertmanagers, for all gateways together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from igw_operator import conventions
from igw_operator.api.objects import ObjectKey
from igw_operator.errors import PrometheusError
from igw_operator.judge.snapshot import DrillReading
from igw_operator.plan.slo.alerts import ALERT_DRILL
from igw_operator.plan.slo.drill import DRILL_LENGTH, Drill
from igw_operator.world.alertmanager import ReceivedAlert, find_problem, name_alertmanager
from igw_operator.world.prometheus import PrometheusClient, Vector
from igw_operator.world.servers import Server

_LABEL: Final = conventions.ALERT_LABEL_DRILL
# Prometheus keeps here since when an alert is active. A while back, so that an operator that was
# away for the drill still learns that it fired.
DRILLS_QUERY: Final = (
    f"max by (namespace, gateway, {_LABEL}) (last_over_time("
    f'ALERTS_FOR_STATE{{alertname="{ALERT_DRILL}",{_LABEL}!=""}}'
    f"[{int(DRILL_LENGTH.total_seconds()) // 60 + 5}m]))"
)
_MOST_ALERTMANAGERS: Final = 8
_MOST_PROBLEMS: Final = 2

Name = tuple[ObjectKey, str]
"""A gateway, and which of its drills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillAnswer:
    """What one server and its Alertmanagers say of all drills."""

    firing: Mapping[Name, datetime] = field(default_factory=dict)
    received: Mapping[Name, DrillReading] = field(default_factory=dict)
    alertmanagers: int = 0
    problem: str = ""


async def fetch_drills(client: PrometheusClient, server: Server) -> DrillAnswer:
    """Ask one server.

    Raises:
        PrometheusError: it did not answer the query. Alertmanagers that do not are told of.
    """
    firing = _index(await client.query(server.url, DRILLS_QUERY))
    if not firing:
        return DrillAnswer()
    try:
        addresses = await client.alertmanagers(server.url)
    except PrometheusError as error:
        return DrillAnswer(firing=firing, problem=f"{server.name} does not name any: {error}")
    received: dict[Name, DrillReading] = {}
    problems: list[str] = []
    for address in addresses[:_MOST_ALERTMANAGERS]:
        name = name_alertmanager(address)
        try:
            found = await _fetch(client, address, is_trusted=server.manifest is None)
        except PrometheusError as error:
            problems.append(f"Alertmanager {name} cannot be asked: {error}")
            if len(problems) == _MOST_PROBLEMS:
                break  # the fleet waits for this round
        else:
            _take(received, name, found)
    return DrillAnswer(
        firing=firing,
        received=received,
        alertmanagers=len(addresses),
        problem=next(iter(problems), ""),
    )


def read_drill(key: ObjectKey, drill: Drill, answers: Mapping[str, DrillAnswer]) -> DrillReading:
    """What the servers, by name, say of a gateway's drill: the best that any of them knows."""
    readings = [
        _read(server, answer, (key, drill.name))
        for server, answer in answers.items()
        if (key, drill.name) in answer.firing
    ]
    return max(readings, key=_rank, default=DrillReading())


def is_better(found: DrillReading, known: DrillReading) -> bool:
    """Whether a reading takes the place of what is known.

    What was seen once was seen: an Alertmanager forgets at once what is over. And it receives an
    alert again and again, which is no news.
    """
    if known.delivered_at is None:
        return found.firing_at is not None
    return bool(known.kept_back) and found.delivered_at is not None and not found.kept_back


async def _fetch(
    client: PrometheusClient, address: str, *, is_trusted: bool
) -> list[ReceivedAlert]:
    if problem := find_problem(address, is_trusted=is_trusted):
        raise PrometheusError(problem)
    return await client.alerts(address, ALERT_DRILL)


def _take(
    received: dict[Name, DrillReading], alertmanager: str, alerts: Iterable[ReceivedAlert]
) -> None:
    for alert in alerts:
        name = _name_of(alert.labels)
        reading = DrillReading(
            receiver=alertmanager,
            delivered_at=alert.updated_at,
            routed_to=alert.receivers,
            kept_back=alert.kept_back,
        )
        received[name] = max(received.get(name, DrillReading()), reading, key=_rank)


def _read(server: str, answer: DrillAnswer, name: Name) -> DrillReading:
    return replace(
        answer.received.get(name, DrillReading(problem=answer.problem)),
        server=server,
        firing_at=answer.firing[name],
        alertmanagers=answer.alertmanagers,
    )


def _rank(reading: DrillReading) -> tuple[bool, bool, bool]:
    """More is better: it got through, it arrived, it may have."""
    has_arrived = reading.delivered_at is not None
    return has_arrived and not reading.kept_back, has_arrived, bool(reading.problem)


def _index(firing: Vector) -> dict[Name, datetime]:
    found: dict[Name, datetime] = {}
    for sample in firing.samples:
        try:
            found[_name_of(sample.labels)] = datetime.fromtimestamp(sample.value, UTC)
        except (ValueError, OverflowError, OSError) as error:
            message = f"an alert that is active since {sample.value}"
            raise PrometheusError(message) from error
    return found


def _name_of(labels: Mapping[str, str]) -> Name:
    key = ObjectKey(labels.get("namespace", ""), labels.get("gateway", ""))
    return key, labels.get(_LABEL, "")
