"""TelemetryReady and RolloutHeld, and which of all conditions the REASON column shows."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Reading, Snapshot, SpanLoss
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities
from scenes import (
    COLLECTOR,
    FULL,
    NOW,
    a_failure,
    a_pod,
    a_replica_set,
    a_snapshot,
    condition_of,
    crashed,
    deployment_status,
    progressing,
    ready_of,
    waiting,
    with_child,
)

NO_CUSTOM = Capabilities(service_monitors=True, prometheus_rules=True)


def judged(snapshot: Snapshot, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of one condition."""
    found = condition_of(judge(snapshot, None, NOW), kind)
    return found["status"], found["reason"], found["message"]


def without_metrics() -> dict[str, Any]:
    """A spec that wants no monitoring."""
    return {"metrics": {"enabled": False}}


def collector_in_trouble() -> Snapshot:
    """A managed collector whose image cannot be pulled."""
    snapshot = a_snapshot(collector=deployment_status(1, readyReplicas=0, availableReplicas=0))
    pod = a_pod(
        container=waiting("ErrImagePull", "not found"),
        owner="photos-collector",
        template_hash="collector",
    )
    replica_set = a_replica_set(snapshot.children[COLLECTOR], "collector")
    return replace(snapshot, pods=[pod], replica_sets=[*snapshot.replica_sets, replica_set])


def collector_killed() -> Snapshot:
    """A collector at its memory limit."""
    snapshot = a_snapshot(collector=deployment_status(1, readyReplicas=0, availableReplicas=0))
    pod = a_pod(owner="photos-collector", template_hash="collector")
    killed = {"name": "collector", **crashed(137, "", "OOMKilled")}
    pod["status"]["containerStatuses"] = [killed]
    replica_set = a_replica_set(snapshot.children[COLLECTOR], "collector")
    return replace(snapshot, pods=[pod], replica_sets=[*snapshot.replica_sets, replica_set])


def collector_with_words(words: str, available: int = 1) -> Snapshot:
    """A new collector that refuses its configuration; of the one before, so many go on."""
    status = deployment_status(
        1, conditions=[progressing("ReplicaSetUpdated")], replicas=2, availableReplicas=available
    )
    snapshot = a_snapshot(collector=status)
    pod = a_pod(owner="photos-collector", template_hash="collector")
    check = {"name": "check-config", **crashed(1, words)}
    pod["status"]["initContainerStatuses"] = [check]
    replica_set = a_replica_set(snapshot.children[COLLECTOR], "collector")
    return replace(snapshot, pods=[pod], replica_sets=[*snapshot.replica_sets, replica_set])


REFUSAL = """Error: failed to get config: cannot unmarshal the configuration: decoding failed:

'processors' error reading configuration for "tail_sampling":

'decision_wait' time: invalid duration
"""
REFUSED = (
    "Container check-config of pod photos-collector-collector-aaaaa refuses the configuration: "
    "failed to get config: cannot unmarshal the configuration: decoding failed: "
    "'processors' error reading configuration for \"tail_sampling\": "
    "'decision_wait' time: invalid duration; the collector of before goes on. "
    "Next: kubectl logs photos-collector-collector-aaaaa -c check-config -n demo"
)
EXTERNAL = {"collector": {"mode": "External", "endpoint": "http://otel.monitoring:4318"}}
TELEMETRY: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "the managed collector runs": (
        a_snapshot(),
        "True",
        Reason.COLLECTOR_AVAILABLE,
        "Collector photos-collector runs",
    ),
    "the managed collector starts": (
        a_snapshot(collector=deployment_status(1, readyReplicas=0, availableReplicas=0)),
        "Unknown",
        Reason.STARTING,
        "kubectl rollout status deployment/photos-collector -n demo",
    ),
    "the managed collector is killed, with a limit that nobody sets": (
        collector_killed(),
        "False",
        Reason.OUT_OF_MEMORY,
        "was killed at its memory limit. Next: kubectl logs",
    ),
    "the managed collector was deleted": (
        replace(with_child(a_snapshot(), COLLECTOR, None), desired=[]),
        "Unknown",
        Reason.STARTING,
        "does not run yet",
    ),
    "the managed collector is not applied yet": (
        with_child(a_snapshot(), COLLECTOR, None),
        "Unknown",
        Reason.APPLYING,
        "Deployment photos-collector is not yet",
    ),
    "the managed collector's image cannot be pulled": (
        collector_in_trouble(),
        "False",
        Reason.IMAGE_PULL_FAILED,
        "Pod photos-collector-collector-aaaaa cannot pull image",
    ),
    "the collector refuses its configuration": (
        collector_with_words(REFUSAL),
        "False",
        Reason.COLLECTOR_CONFIG_REJECTED,
        REFUSED,
    ),
    "the collector refuses it without a word, and there is no other": (
        collector_with_words("", available=0),
        "False",
        Reason.COLLECTOR_CONFIG_REJECTED,
        "check-config of pod photos-collector-collector-aaaaa exited with code 1. Next:",
    ),
    "the collector's configuration cannot be written": (
        replace(
            a_snapshot(),
            failures=[a_failure("ConfigMap", 403, "you may not", name="photos-collector-0a1b2c")],
        ),
        "False",
        Reason.APPLY_FORBIDDEN,
        "you may not",
    ),
    "spans go elsewhere, and nobody knows whether they arrive": (
        a_snapshot(observability=EXTERNAL),
        "Unknown",
        Reason.NOT_VERIFIED,
        "http://otel.monitoring:4318",
    ),
    "the owner wants no collector": (
        a_snapshot(observability={"collector": {"mode": "Disabled"}}),
        "False",
        Reason.TELEMETRY_DISABLED,
        "asks for no traces",
    ),
    "the owner wants none, and the collector cannot be removed": (
        replace(
            a_snapshot(observability={"collector": {"mode": "Disabled"}}),
            failures=[a_failure("Deployment", 403, "you may not", name="photos-collector")],
        ),
        "False",
        Reason.APPLY_FORBIDDEN,
        "you may not",
    ),
    "the owner wants no spans": (
        a_snapshot(observability={"tracing": {"enabled": False}}),
        "False",
        Reason.TELEMETRY_DISABLED,
        "asks for no traces",
    ),
}

SERVER = "Prometheus monitoring/main"
LOST = Reading(
    server=SERVER,
    is_collector_scraped=True,
    spans_lost=((SpanLoss.BACKEND, 300), (SpanLoss.RUNTIME, 1)),
)
CROWDED = Reading(server=SERVER, spans_lost=((SpanLoss.CROWDED, 8000), (SpanLoss.REFUSED, 20)))
UNDELIVERED = Reading(server=SERVER, spans_lost=((SpanLoss.RUNTIME, 20),))
READ: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "Prometheus counts traces that were not judged": (
        replace(a_snapshot(), reading=CROWDED),
        "False",
        Reason.SPANS_LOST,
        (
            "about 8000 traces left the collector's memory for others before being judged; "
            "the collector refused about 20 spans"
        ),
    ),
    "Prometheus counts lost spans": (
        replace(a_snapshot(), reading=LOST),
        "False",
        Reason.SPANS_LOST,
        (
            "Prometheus monitoring/main counts lost spans within 5 minutes: the trace backend "
            "did not take about 300 spans from the collector; about 1 span never left the runtime. "
            "Next: kubectl logs deployment/photos-collector -n demo --tail=50"
        ),
    ),
    "the runtime cannot reach an external collector": (
        replace(a_snapshot(observability=EXTERNAL), reading=UNDELIVERED),
        "False",
        Reason.SPANS_LOST,
        "about 20 spans never left the runtime. Next: kubectl logs deployment/photos -n demo",
    ),
    "an external collector loses nothing that the runtime knows of": (
        replace(a_snapshot(observability=EXTERNAL), reading=Reading(server=SERVER)),
        "Unknown",
        Reason.NOT_VERIFIED,
        "their arrival is not verified",
    ),
    "Prometheus counts no lost span": (
        replace(a_snapshot(), reading=Reading(server=SERVER, is_collector_scraped=True)),
        "True",
        Reason.COLLECTOR_AVAILABLE,
        "Collector photos-collector runs, and Prometheus monitoring/main counts no lost span",
    ),
    "nobody scrapes the collector": (
        replace(a_snapshot(), reading=Reading(server=SERVER)),
        "True",
        Reason.COLLECTOR_AVAILABLE,
        "its own metrics tell",
    ),
    "the collector is broken, and spans are lost": (
        replace(collector_in_trouble(), reading=LOST),
        "False",
        Reason.IMAGE_PULL_FAILED,
        "cannot pull image",
    ),
}
DELEGATED: dict[str, Any] = {"collector": {"mode": "OpenTelemetryCollector"}}
OTEL_COLLECTOR = ("OpenTelemetryCollector", "photos")


def delegated(
    *, scale: Mapping[str, Any] | None = None, owner: str | None = None, **changes: Any
) -> Snapshot:
    """A collector in the hands of the OpenTelemetry operator: its status and its Deployment."""
    snapshot = a_snapshot(observability=DELEGATED)
    status = {"status": {"scale": scale}} if scale else {}
    live = snapshot.children[OTEL_COLLECTOR] | status
    snapshot = with_child(snapshot, OTEL_COLLECTOR, live)
    if owner is None:
        return snapshot
    deployment = deepcopy(a_snapshot().children[COLLECTOR]) | {"status": deployment_status(1)}
    deployment["metadata"]["ownerReferences"] = [{"uid": owner}]
    deployment |= {"status": deployment_status(1)} | changes
    if image := changes.get("image"):
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return with_child(snapshot, COLLECTOR, deployment)


UID = "uid-OpenTelemetryCollector-photos"
OTEL: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "the cluster lacks the kind": (
        a_snapshot(observability=DELEGATED, capabilities=replace(FULL, otel_collectors=False)),
        "False",
        Reason.OPENTELEMETRY_OPERATOR_MISSING,
        "Next: kubectl get crd opentelemetrycollectors.opentelemetry.io",
    ),
    "nobody has taken it up": (
        delegated(),
        "Unknown",
        Reason.STARTING,
        "has made nothing of OpenTelemetryCollector photos yet",
    ),
    "its status counts a ready replica": (
        delegated(scale={"replicas": 1, "statusReplicas": "1/1"}),
        "True",
        Reason.COLLECTOR_AVAILABLE,
        "1 of 1 replicas are ready",
    ),
    "its status counts none": (
        delegated(scale={"replicas": 1, "statusReplicas": "0/1"}),
        "Unknown",
        Reason.STARTING,
        "kubectl describe otelcol photos -n demo",
    ),
    "its status knows no replica": (
        delegated(scale={"selector": "a=b"}),
        "Unknown",
        Reason.STARTING,
        "0 of 0",
    ),
    "its Deployment is complete": (
        delegated(owner=UID),
        "True",
        Reason.COLLECTOR_AVAILABLE,
        "Collector photos-collector runs",
    ),
    "its Deployment is not, whatever its status says": (
        delegated(
            owner=UID,
            scale={"replicas": 1, "statusReplicas": "1/1"},
            status=deployment_status(1, readyReplicas=0, availableReplicas=0),
        ),
        "Unknown",
        Reason.STARTING,
        "does not run yet",
    ),
    "its Deployment has the image of before": (
        delegated(owner=UID, image="otel:old"),
        "Unknown",
        Reason.STARTING,
        "not yet given collector photos its new image",
    ),
    "a Deployment of that name is of another one": (
        delegated(owner="uid-of-before"),
        "Unknown",
        Reason.STARTING,
        "has made nothing",
    ),
    "it was refused": (
        replace(
            delegated(),
            failures=[a_failure("OpenTelemetryCollector", 500, "failed calling webhook")],
        ),
        "False",
        Reason.APPLY_FAILED,
        "failed calling webhook",
    ),
}


@pytest.mark.parametrize(
    ("snapshot", "status", "reason", "says"),
    [*TELEMETRY.values(), *READ.values(), *OTEL.values()],
    ids=[*TELEMETRY, *READ, *OTEL],
)
def test_telemetry_ready(snapshot: Snapshot, status: str, reason: Reason, says: str) -> None:
    """Spans have somewhere to go, or the condition says why not."""
    found = judged(snapshot, "TelemetryReady")

    assert found[:2] == (status, reason)
    assert says in found[2]
    assert ready_of(judge(snapshot, None, NOW))["status"] == "True"


@pytest.mark.parametrize("reading", [LOST, Reading(server=SERVER, is_collector_scraped=True)])
def test_a_new_operator_says_what_was_said_until_it_knows(reading: Reading) -> None:
    """A restart writes no status."""
    before = judge(replace(a_snapshot(), reading=reading), None, NOW)
    after = judge(a_snapshot(), before, NOW)
    assert condition_of(after, "TelemetryReady") == condition_of(before, "TelemetryReady")


def test_what_nobody_will_know_is_not_carried_on() -> None:
    """Without the Prometheus Operator's kinds there will be no reading to end it."""
    before = judge(replace(a_snapshot(), reading=LOST), None, NOW)
    after = judge(a_snapshot(capabilities=replace(FULL, service_monitors=False)), before, NOW)
    assert condition_of(after, "TelemetryReady")["reason"] == Reason.COLLECTOR_AVAILABLE


def test_no_rollout_is_held() -> None:
    """The seam is there; nothing holds a change yet."""
    assert judged(a_snapshot(), "RolloutHeld")[:2] == ("False", Reason.NOT_HELD)


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (a_snapshot(), Reason.SERVING),
        (
            a_snapshot(capabilities=Capabilities(), scaling={"minReplicas": 3}),
            Reason.CUSTOM_METRICS_UNAVAILABLE,
        ),
        (a_snapshot(capabilities=replace(FULL, custom_metrics=False)), Reason.SERVING),
        (a_snapshot(capabilities=replace(FULL, prometheus_rules=False)), "PrometheusOperatorMiss"),
        (collector_in_trouble(), Reason.IMAGE_PULL_FAILED),
        (a_snapshot(observability=without_metrics()), Reason.SERVING),
        (replace(a_snapshot(capabilities=Capabilities()), runtime=None), Reason.RUNTIME_NOT_FOUND),
    ],
    ids=[
        "all is well",
        "of two troubles, scaling is the worse",
        "targets that nobody asked for are no news",
        "nobody would be paged",
        "no spans",
        "what the owner chose is no trouble",
        "serving goes before all",
    ],
)
def test_the_reason_column_shows_the_worst(snapshot: Snapshot, reason: str) -> None:
    """READY True with a REASON that is not Serving: it serves, and something is not as asked."""
    assert judge(snapshot, None, NOW)["reason"].startswith(reason)


def test_every_message_about_trouble_ends_with_a_command() -> None:
    """Whoever reads it at night is told what to type."""
    chosen = {Reason.TELEMETRY_DISABLED, Reason.NOT_HELD}
    for snapshot, *_ in TELEMETRY.values():
        for entry in judge(snapshot, None, NOW)["conditions"]:
            if entry["status"] == "False" and entry["reason"] not in chosen:
                assert "kubectl " in entry["message"], entry
