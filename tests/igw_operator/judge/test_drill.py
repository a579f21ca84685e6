"""AlertDrillSeen: only what was seen counts, and what was not looked for is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from factories import with_drill
from igw_operator.judge.events import transitions
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import DrillReading, Reading, Snapshot
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities
from scenes import NOW, a_snapshot, condition_of, ready_of

AT = "2026-03-04T12:00:00Z"
FIRED = NOW + timedelta(seconds=70)
ARRIVED = NOW + timedelta(seconds=75)
NOTHING = DrillReading()
FIRES = DrillReading(server="Prometheus monitoring/main", firing_at=FIRED, alertmanagers=2)
HAS_IT = replace(
    FIRES, receiver="http://10.1.2.3:9093", delivered_at=ARRIVED, routed_to=("pager", "team")
)


def over(reading: DrillReading) -> DrillReading:
    """The same once the time is over."""
    return replace(reading, is_over=True)


def asked(drill: DrillReading | None = None, at: str = AT, **changes: Any) -> Snapshot:
    """A gateway with a drill; ``changes`` are of what else the reading says."""
    snapshot = a_snapshot()
    assert snapshot.gateway is not None
    reading = None
    if drill is not None:
        known = {"server": "Prometheus monitoring/main"} | changes
        reading = Reading(drill=drill, **known)
    return replace(snapshot, gateway=with_drill(snapshot.gateway, at), reading=reading)


def run(*snapshots: Snapshot) -> dict[str, Any]:
    """The status after one judgement after the other, a minute each."""
    status: dict[str, Any] | None = None
    for minutes, snapshot in enumerate(snapshots):
        status = judge(snapshot, status, NOW + timedelta(minutes=minutes))
    assert status is not None
    return status


WAITING = asked(NOTHING)
FIRING = asked(FIRES)
DELIVERED = asked(HAS_IT)
SILENCED = asked(replace(HAS_IT, kept_back="silenced by 1f2e"))
UNKNOWN = asked(replace(FIRES, problem="Alertmanager x cannot be asked: it answers 401"))
STORIES: dict[str, tuple[list[Snapshot], str, Reason, str]] = {
    "nobody has looked": ([asked()], "Unknown", Reason.DRILL_PENDING, "nobody has looked yet"),
    "it is on its way": ([WAITING], "Unknown", Reason.DRILL_PENDING, f"asked for at {AT}"),
    "it fires": (
        [WAITING, FIRING],
        "Unknown",
        Reason.DRILL_PENDING,
        "fired it at 2026-03-04T12:01:10Z, and none of the 2 Alertmanagers that it sends to",
    ),
    "it fires, and there is nobody to send it to": (
        [WAITING, asked(replace(FIRES, alertmanagers=0))],
        "Unknown",
        Reason.DRILL_PENDING,
        "it knows no Alertmanager to send it to yet",
    ),
    "it arrived": (
        [WAITING, FIRING, DELIVERED],
        "True",
        Reason.DRILL_DELIVERED,
        (
            "and Alertmanager http://10.1.2.3:9093 had received it by 2026-03-04T12:01:15Z, for "
            "receiver pager and team"
        ),
    ),
    "it arrived, for nobody": (
        [asked(replace(HAS_IT, routed_to=()))],
        "True",
        Reason.DRILL_DELIVERED,
        "for no receiver",
    ),
    "it arrived, and then all is forgotten": (
        [DELIVERED, asked(over(NOTHING)), asked(), asked(NOTHING, server="", error="")],
        "True",
        Reason.DRILL_DELIVERED,
        "had received it",
    ),
    "it is kept back": (
        [FIRING, SILENCED],
        "False",
        Reason.DRILL_KEPT_BACK,
        "but notifies nobody: it is silenced by 1f2e. Next: kubectl describe igw photos -n demo",
    ),
    "it was kept back to the end": (
        [SILENCED, asked(over(replace(HAS_IT, kept_back="silenced by 1f2e"))), asked()],
        "False",
        Reason.DRILL_KEPT_BACK,
        "silenced by 1f2e",
    ),
    "it was kept back for a while": ([SILENCED, DELIVERED], "True", Reason.DRILL_DELIVERED, ""),
    "Alertmanager cannot be asked": (
        [FIRING, UNKNOWN],
        "Unknown",
        Reason.DRILL_FIRED,
        "whether an Alertmanager has it is not known: Alertmanager x cannot be asked: it answers 4",
    ),
    "Alertmanager could never be asked": (
        [UNKNOWN, asked(over(replace(FIRES, problem="x")))],
        "Unknown",
        Reason.DRILL_FIRED,
        "it answers 401",
    ),
    "it never arrived": (
        [WAITING, FIRING, asked(over(FIRES))],
        "False",
        Reason.DRILL_NOT_DELIVERED,
        "none of the 2 Alertmanagers that it sends to has it. Next: kubectl describe",
    ),
    "it fired while nobody looked": (
        [asked(over(FIRES))],
        "Unknown",
        Reason.DRILL_FIRED,
        "nobody asked an Alertmanager in time",
    ),
    "it never fired": (
        [WAITING, asked(over(NOTHING))],
        "False",
        Reason.DRILL_NOT_SEEN,
        "its time is over, and no Prometheus was seen to fire it: see MonitoringReady",
    ),
    "it never fired, and at the end nobody answers": (
        [WAITING, asked(over(NOTHING), error="no answer within 10 s")],
        "Unknown",
        Reason.DRILL_NOT_SEEN,
        "its time is over",
    ),
    "it never fired, and there is nobody to ask": (
        [asked(NOTHING, server=""), asked(over(NOTHING), server="")],
        "Unknown",
        Reason.DRILL_NOT_SEEN,
        "its time is over",
    ),
    "it was over before anybody looked": (
        [asked(over(NOTHING))],
        "Unknown",
        Reason.DRILL_NOT_SEEN,
        "its time is over",
    ),
    "another one is asked for": (
        [DELIVERED, asked(NOTHING, "2026-03-04T13:00:00Z")],
        "Unknown",
        Reason.DRILL_PENDING,
        "asked for at 2026-03-04T13:00:00Z; no Prometheus is known to fire it yet",
    ),
    "it is asked for in words": (
        [asked(at="now")],
        "False",
        Reason.DRILL_REFUSED,
        (
            "'now' is no time with a zone, such as 2026-03-04T12:00:00Z. Next: kubectl annotate "
            "igw photos -n demo --overwrite inference.igw.dev/alert-drill="
        ),
    ),
    "the cluster has no rules": (
        [replace(asked(), capabilities=Capabilities(service_monitors=True))],
        "False",
        Reason.DRILL_REFUSED,
        "the cluster has no PrometheusRules",
    ),
}


@pytest.mark.parametrize(("story", "status", "reason", "says"), STORIES.values(), ids=STORIES)
def test_alert_drill_seen(story: list[Snapshot], status: str, reason: Reason, says: str) -> None:
    """True by sight only, False where somebody looked; and never a reason to be unready."""
    found = run(*story)

    seen = condition_of(found, "AlertDrillSeen")
    assert (seen["status"], seen["reason"]) == (status, reason)
    assert says in seen["message"]
    assert ready_of(found)["status"] == "True"


@pytest.mark.parametrize("story", [it[0] for it in STORIES.values()], ids=STORIES)
def test_a_status_is_a_fixed_point_and_survives_a_restart(story: list[Snapshot]) -> None:
    """The same news write nothing, and neither does an operator that knows nothing yet."""
    found = run(*story)

    assert run(*story, story[-1]) == found
    assert run(*story, replace(story[-1], reading=None)) == found


def test_times_are_written_down_once() -> None:
    """What is seen later, of the same drill, does not move them."""
    later = replace(HAS_IT, firing_at=ARRIVED, delivered_at=NOW + timedelta(minutes=5))
    found = run(WAITING, FIRING, DELIVERED, asked(later), asked(over(NOTHING)))

    assert found["alertDrill"] == {
        "requestedAt": AT,
        "firingAt": "2026-03-04T12:01:10Z",
        "deliveredAt": "2026-03-04T12:01:15Z",
    }


def test_what_is_kept_back_is_not_delivered() -> None:
    """Its time says when Alertmanager would have notified somebody."""
    assert run(SILENCED)["alertDrill"] == {
        "requestedAt": AT,
        "firingAt": "2026-03-04T12:01:10Z",
    }


def test_of_what_nobody_saw_there_is_no_record() -> None:
    """Neither of a drill before the operator's time, nor of one that cannot be done."""
    assert "alertDrill" not in run(asked(over(NOTHING)))
    assert "alertDrill" not in run(asked(at="now"))
    assert "alertDrill" not in run(asked())


def test_without_the_annotation_there_is_nothing() -> None:
    """Also after a drill: who takes it away has read the result."""
    found = run(DELIVERED, a_snapshot())

    assert "alertDrill" not in found
    assert condition_of(found, "AlertDrillSeen") == {}


def test_a_record_that_somebody_wrote_over_does_no_harm() -> None:
    """It is read as warily as any other status."""
    for record in ("x", {"requestedAt": 3}, {"requestedAt": AT, "firingAt": 7}):
        before = judge(WAITING, None, NOW) | {"alertDrill": record}
        assert judge(FIRING, before, NOW)["alertDrill"]["firingAt"] == "2026-03-04T12:01:10Z"


@pytest.mark.parametrize(
    ("snapshot", "drafts"),
    [
        (DELIVERED, [("Normal", "DrillDelivered")]),
        (SILENCED, [("Warning", "DrillKeptBack")]),
        (FIRING, []),
        (UNKNOWN, []),
    ],
)
def test_what_became_of_it_is_an_event(snapshot: Snapshot, drafts: list[tuple[str, str]]) -> None:
    """With the times in it; that it is on its way is none."""
    before = run(WAITING)
    found = transitions(before, judge(snapshot, before, NOW))

    assert [(it.type, it.reason) for it in found] == drafts


def test_the_reason_column_shows_a_drill_that_failed() -> None:
    """While all else is well; a drill that arrived is no news there."""
    assert run(SILENCED)["reason"] == "DrillKeptBack"
    assert run(DELIVERED)["reason"] == "Serving"
