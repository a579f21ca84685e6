"""MonitoringReady: True by proof only, False by evidence only, and each failure names the fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Reading, SloReading, Snapshot
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities
from scenes import NOW, a_failure, a_snapshot, condition_of, ready_of, with_child

SERVER = "Prometheus monitoring/main"
RECORDED = tuple(SloReading(name=name, is_recorded=True) for name in ("availability", "latency"))


def a_reading(**changes: Any) -> Reading:
    """A full proof, but for the changes."""
    proof = Reading(server=SERVER, has_targets=True, expected=3, slos=RECORDED, as_of=NOW)
    return replace(proof, **changes)


def read(**changes: Any) -> Snapshot:
    """A gateway of which Prometheus says so."""
    return replace(a_snapshot(), reading=a_reading(**changes))


def judged(snapshot: Snapshot, before: dict[str, Any] | None = None) -> tuple[str, str, str]:
    """Status, reason and message of the condition."""
    found = condition_of(judge(snapshot, before, NOW), "MonitoringReady")
    return found["status"], found["reason"], found["message"]


MONITORING: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "the objects exist, which proves nothing (prometheus-operator#5917)": (
        a_snapshot(),
        "Unknown",
        Reason.NOT_VERIFIED,
        "no Prometheus has been asked yet",
    ),
    "the owner wants no monitoring": (
        a_snapshot(observability={"metrics": {"enabled": False}}),
        "False",
        Reason.MONITORING_DISABLED,
        "nobody is paged",
    ),
    "the owner wants none, and what there is cannot be removed": (
        replace(
            a_snapshot(observability={"metrics": {"enabled": False}}),
            failures=[a_failure("PrometheusRule", 403, "you may not", name="photos-slo")],
        ),
        "False",
        Reason.APPLY_FORBIDDEN,
        "PrometheusRule photos-slo was refused: you may not",
    ),
    "the cluster has no Prometheus Operator": (
        a_snapshot(capabilities=Capabilities(custom_metrics=True)),
        "False",
        Reason.PROMETHEUS_OPERATOR_MISSING,
        "kubectl get crd servicemonitors.monitoring.coreos.com prometheusrules.monitoring.cor",
    ),
    "the cluster has half a Prometheus Operator": (
        a_snapshot(capabilities=Capabilities(service_monitors=True)),
        "False",
        Reason.PROMETHEUS_OPERATOR_MISSING,
        "does not serve prometheusrules.monitoring.coreos.com",
    ),
    "a rule could not be written": (
        replace(
            a_snapshot(), failures=[a_failure("PrometheusRule", 422, "bad", name="photos-slo")]
        ),
        "False",
        Reason.APPLY_REJECTED,
        "PrometheusRule photos-slo was refused: bad",
    ),
    "the monitor is not there yet": (
        with_child(a_snapshot(), ("ServiceMonitor", "photos"), None),
        "Unknown",
        Reason.APPLYING,
        "ServiceMonitor photos is not yet as it is asked for",
    ),
    "a Prometheus has all of it": (
        read(),
        "True",
        Reason.MONITORED,
        "Prometheus monitoring/main scrapes every pod and evaluates the rules",
    ),
    "what it has it keeps for too short": (
        read(retention="15d"),
        "True",
        Reason.MONITORED,
        "keeps samples for 15d only, so that the budget of 30d is that of 15d",
    ),
    "there is nobody to ask": (
        replace(a_snapshot(), reading=Reading()),
        "Unknown",
        Reason.PROMETHEUS_NOT_FOUND,
        "IGW_PROMETHEUS_URL=",
    ),
    "nobody answers, which proves nothing": (
        read(error="no answer within 10 s", faults=("it does not select",)),
        "Unknown",
        Reason.PROMETHEUS_UNREACHABLE,
        "no answer within 10 s",
    ),
    "it is not selected": (
        read(has_targets=False, slos=(), faults=("P a/b does not select: label x", "and y")),
        "False",
        Reason.NOT_SELECTED,
        "P a/b does not select: label x; and y. Next: kubectl get prometheus",
    ),
    "a scrape fails, in Prometheus' words": (
        read(down=(("photos-1", "connection refused"), ("photos-2", ""))),
        "False",
        Reason.TARGET_DOWN,
        "cannot scrape Pod photos-1 and 1 other: connection refused",
    ),
    "a new pod is not known to Prometheus yet": (
        read(silent=("photos-1",)),
        "Unknown",
        Reason.AWAITING_PROMETHEUS,
        "does not scrape Pod photos-1 of ServiceMonitor photos",
    ),
    "a pod is never scraped": (
        read(silent=("photos-1",), is_overdue=True),
        "False",
        Reason.TARGET_MISSING,
        "kubectl describe servicemonitor photos -n demo",
    ),
    "no pod is ready": (
        read(has_targets=False, expected=0),
        "Unknown",
        Reason.AWAITING_PROMETHEUS,
        "no replica has been ready",
    ),
    "the rules are on their way": (
        read(slos=(RECORDED[0], SloReading(name="latency"))),
        "Unknown",
        Reason.AWAITING_PROMETHEUS,
        "has not recorded the objective of latency",
    ),
    "the rules never come": (
        read(slos=(SloReading(name="latency"),), is_overdue=True),
        "False",
        Reason.RULES_NOT_LOADED,
        "that PrometheusRule photos-slo has now",
    ),
    "a rule fails, in Prometheus' words": (
        read(slos=(SloReading(name="latency"),), rule_error="igw:x of group g: many-to-many"),
        "False",
        Reason.RULES_FAILING,
        "cannot evaluate PrometheusRule photos-slo: igw:x of group g: many-to-many",
    ),
    "live settings are on their way to a pod": (
        read(outdated=("photos-1",)),
        "Unknown",
        Reason.AWAITING_SETTINGS,
        "Pod photos-1 follows other live settings than ConfigMap photos-config has, as Prometheus",
    ),
    "live settings never reach some pods": (
        read(outdated=("photos-1", "photos-2"), is_overdue=True),
        "False",
        Reason.SETTINGS_NOT_IN_FORCE,
        "Pod photos-1 and 1 other follow other live settings than ConfigMap photos-config has",
    ),
    "who is not scraped cannot tell its settings": (
        read(outdated=("photos-1",), down=(("photos-2", "refused"),)),
        "False",
        Reason.TARGET_DOWN,
        "cannot scrape Pod photos-2: refused",
    ),
    "settings cannot be known without an answer": (
        read(outdated=("photos-1",), error="no answer within 10 s"),
        "Unknown",
        Reason.PROMETHEUS_UNREACHABLE,
        "no answer within 10 s",
    ),
    "the operator's own metrics do not arrive": (
        read(knows_operator=False, is_overdue=True),
        "False",
        Reason.OPERATOR_NOT_SCRAPED,
        "lacks igw_operator_gateway_desired_replicas of the gateway",
    ),
    "the operator's own metrics arrive as another namespace's": (
        read(knows_operator=False, enforced=True, is_overdue=True),
        "False",
        Reason.NAMESPACE_ENFORCED,
        "name the operator's ServiceMonitor in spec.excludedFromEnforcement",
    ),
}


@pytest.mark.pain(13)
@pytest.mark.parametrize(
    ("snapshot", "status", "reason", "says"), MONITORING.values(), ids=MONITORING
)
def test_monitoring_ready(snapshot: Snapshot, status: str, reason: Reason, says: str) -> None:
    """Never True without proof, and never a reason to be unready."""
    found = judged(snapshot)

    assert found[:2] == (status, reason)
    assert says in found[2]
    assert ready_of(judge(snapshot, None, NOW))["status"] == "True"


def test_every_trouble_ends_with_a_command() -> None:
    """Whoever reads it at night is told what to type."""
    for snapshot, status, reason, _ in MONITORING.values():
        if status == "False" and reason is not Reason.MONITORING_DISABLED:
            assert "Next: kubectl " in judged(snapshot)[2]


@pytest.mark.parametrize(
    ("snapshot", "status"), [it[:2] for it in MONITORING.values()], ids=MONITORING
)
def test_a_restarted_operator_changes_nothing(snapshot: Snapshot, status: str) -> None:
    """Neither before its first answer nor after it, when its patience begins anew."""
    before = judge(snapshot, None, NOW)
    if snapshot.reading is None:
        return
    unasked = replace(snapshot, reading=None)
    fresh = replace(snapshot, reading=replace(snapshot.reading, is_overdue=False))

    later = NOW + timedelta(seconds=30)
    assert judge(unasked, before, later) == before
    assert judge(fresh, before, later) == before
    assert condition_of(before, "MonitoringReady")["status"] == status


def test_what_was_said_of_another_spec_is_not_carried_on() -> None:
    """After an edit nobody knows until Prometheus was asked again."""
    before = judge(read(), None, NOW)

    assert judged(a_snapshot(generation=2), before)[:2] == ("Unknown", Reason.NOT_VERIFIED)


def test_what_is_overdue_is_another_thing_again_once_the_cause_changes() -> None:
    """Patience is per cause: pods that are missing say nothing of rules that are."""
    before = judge(read(silent=("photos-1",), is_overdue=True), None, NOW)

    found = judged(read(slos=(SloReading(name="latency"),)), before)

    assert found[:2] == ("Unknown", Reason.AWAITING_PROMETHEUS)
