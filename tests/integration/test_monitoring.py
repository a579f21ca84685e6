"""MonitoringReady, SLOMet and BUDGET against a real Prometheus.

API server, controllers, operator, Prometheus and Alertmanager are real; pods and their metrics
are played, and so is what the Prometheus Operator makes of monitors and rules.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from igw_operator import conventions, kinds
from igw_operator.plan.slo.alerts import ALERT_DRILL
from igw_runtime.settings import parse_settings
from integration.admission import denying
from integration.cluster import Cluster, Manifest, wait_for
from integration.conftest import Place
from integration.fake_pods import FakePods
from integration.operator_process import OperatorProcess, install
from integration.prometheus_process import PrometheusProcess, StubRuntime, scrape_job
from localnode.controlplane import ControlPlane
from node_parts import need_parts, shared_folder
from plan_kit.alertmanager import AlertmanagerProcess, shipped_config

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("monitoring")]

QUIET: dict[str, Any] = {"collector": {"mode": "Disabled"}}


class Stage:
    """One namespace with a gateway, and a Prometheus that knows it."""

    def __init__(
        self,
        place: Place,
        prometheus: PrometheusProcess,
        stub: StubRuntime,
        operator: OperatorProcess,
        alertmanager: AlertmanagerProcess,
    ) -> None:
        self.place = place
        self.alertmanager = alertmanager
        self.prometheus = prometheus
        self.stub = stub
        self.operator = operator

    def select(self, **spec: Any) -> None:
        """Have a Prometheus object that selects everything, but for the changes."""
        everything: dict[str, Any] = {
            "serviceMonitorSelector": {},
            "serviceMonitorNamespaceSelector": {},
            "ruleSelector": {},
            "ruleNamespaceSelector": {},
            "retention": "30d",
        }
        self.place.cluster.apply(
            {
                "apiVersion": kinds.PROMETHEUS.api_version,
                "kind": kinds.PROMETHEUS.kind,
                "metadata": {"name": "main", "namespace": self.place.namespace},
                "spec": everything | spec,
            }
        )

    def load(
        self,
        port: int = 0,
        *,
        alerting: bool = True,
        pods: bool = True,
        also: Sequence[tuple[Place, str, int]] = (),
    ) -> None:
        """What the Prometheus Operator does when it has selected all of it.

        ``also`` are further gateways: where, how they are called, and the port of their pod.
        """
        jobs = [scrape_job("operator", self.operator.metrics_port)]
        groups = []
        for place, name, at in ((self.place, "photos", port or self.stub.port), *also):
            groups += place.must_get("PrometheusRule", f"{name}-slo")["spec"]["groups"]
            job = scrape_job(f"serviceMonitor/{place.namespace}/{name}/0", at)
            (targets,) = job["static_configs"]
            if pods:
                pod = pod_of(place, name)["metadata"]["name"]
                targets["labels"] |= {"namespace": place.namespace, "gateway": name, "pod": pod}
            else:
                targets["targets"] = []
            jobs.append(job)
        alertmanagers = [self.alertmanager.host] if alerting else []
        self.prometheus.configure(jobs, groups, alertmanagers)

    def drill(self, at: datetime) -> str:
        """Ask for an alert drill, as people do, and wait until the rules have it."""
        time = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        patch = {"metadata": {"annotations": {conventions.ANNOTATION_ALERT_DRILL: time}}}
        self.place.cluster.patch("InferenceGateway", self.place.namespace, "photos", patch)
        wait_for(
            lambda: time in str(self.place.must_get("PrometheusRule", "photos-slo")["spec"]),
            "the drill among the rules",
            timeout_seconds=5,
        )
        return time

    def end_drill(self) -> None:
        """Take the annotation away, and wait until nothing is left of it."""
        patch = {"metadata": {"annotations": {conventions.ANNOTATION_ALERT_DRILL: None}}}
        self.place.cluster.patch("InferenceGateway", self.place.namespace, "photos", patch)
        wait_for(lambda: not self.place.condition("AlertDrillSeen"), "no word of a drill")
        self.load()

    def firing(self) -> list[Manifest]:
        """The drills that Prometheus fires."""
        return self.prometheus.query(f'ALERTS{{alertname="{ALERT_DRILL}"}}')

    def pod(self) -> Manifest:
        """The gateway's only pod."""
        return pod_of(self.place, "photos")

    def budget(self) -> str:
        """What the status says is left."""
        return budget_of(self.place, "photos")

    def wait(
        self, status: str, reason: str, kind: str = "MonitoringReady", seconds: int = 60
    ) -> str:
        """Wait until a condition is so, and return its message."""

        def said() -> tuple[str, str]:
            found = self.place.condition(kind)
            return found.get("status", ""), found.get("reason", "")

        wait_for(
            lambda: said() == (status, reason),
            lambda: f"{kind} to be {status} {reason}, not {said()}",
            timeout_seconds=seconds,
        )
        return str(self.place.condition(kind)["message"])

    def follow(self) -> None:
        """Have the pod follow the settings of the ConfigMap, as the real runtime would say it."""
        config = self.place.must_get("ConfigMap", "photos-config")["data"]["runtime.json"]
        self.stub.live_hash = parse_settings(config.encode()).live_hash

    def prove(self) -> None:
        """Have everything as it should be."""
        self.select()
        self.follow()
        self.load()
        self.wait("True", "Monitored")
        # An alert that fires before that is lost, and sent again a minute later.
        wait_for(self.prometheus.alertmanagers, "Prometheus to know its Alertmanager")


def pod_of(place: Place, name: str) -> Manifest:
    """A gateway's only pod."""

    def found() -> list[Manifest]:
        return place.cluster.list_all("Pod", place.namespace, f"{conventions.LABEL_GATEWAY}={name}")

    wait_for(found, "the pod")
    return found()[0]


def budget_of(place: Place, name: str) -> str:
    """What the status of a gateway says is left."""
    return str(place.gateway(name)["status"].get("budget", ""))


def said_of(place: Place, name: str) -> tuple[str, str]:
    """Status and reason of a gateway's MonitoringReady."""
    found = place.condition("MonitoringReady", name)
    return found.get("status", ""), found.get("reason", "")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything at work, and the gateway Ready; monitoring is still to be taken up."""
    need_parts("prometheus")
    crds = shared_folder("prometheus-operator", "prometheus-operator-crds")
    folder = tmp_path_factory.mktemp("monitoring")
    with (
        ControlPlane(folder / "plane") as plane,
        StubRuntime() as stub,
        FakePods(plane),
        AlertmanagerProcess(folder, shipped_config()) as alertmanager,
    ):
        cluster = Cluster(plane)
        install(cluster, prometheus_crds=crds)
        prometheus = PrometheusProcess(folder)
        operator = OperatorProcess(
            plane, folder, IGW_PROMETHEUS_URL=prometheus.url, IGW_MONITORING_SECONDS="1"
        )
        stage = Stage(Place(cluster, "demo"), prometheus, stub, operator, alertmanager)
        try:
            prometheus.start()
            operator.start()
            stage.place.make(replicas=1, observability=QUIET)
            yield stage
            assert operator.stop() == 0, operator.log.read_text()[-3000:]
            assert operator.errors() == []
        finally:
            operator.kill()
            prometheus.kill()
            cluster.close()


def test_a_label_that_is_missing_is_named_and_the_proof_follows(stage: Stage) -> None:
    """Nothing is loaded: it is not selected, then on its way, then there, with its budget."""
    place = stage.place
    stage.select(ruleSelector={"matchLabels": {"release": "kps"}})
    message = stage.wait("False", "NotSelected")
    assert "PrometheusRule photos-slo: its spec.ruleSelector wants label release=kps" in message

    stage.select()
    stage.wait("Unknown", "AwaitingPrometheus")
    stage.wait("Unknown", "NoData", "SLOMet")
    stage.prove()
    stage.wait("True", "WithinBudget", "SLOMet")
    assert [slo["sli"] for slo in place.gateway()["status"]["slo"]] == ["100%", "100%"]
    row = place.cluster.row("InferenceGateway", place.namespace, "photos")
    assert (row["Ready"], row["Reason"], row["Budget"]) == ("True", "Serving", "100.0%")


def test_idle_rounds_and_restarts_write_nothing(stage: Stage) -> None:
    """Traffic flows and Prometheus is asked each second."""
    stage.prove()
    stage.wait("True", "WithinBudget", "SLOMet")
    stage.place.wait_settled()
    with stage.place.recording() as writes:
        time.sleep(8)  # as many rounds
    assert writes == []

    stage.operator.kill()
    with stage.place.recording() as writes:
        stage.operator.start()
        time.sleep(6)
    assert writes == []


def test_a_label_that_is_taken_away_is_named(stage: Stage) -> None:
    """The Prometheus wants another one; pods and rules go, and come back."""
    stage.prove()
    stage.select(serviceMonitorSelector={"matchLabels": {"release": "kps"}})
    stage.prometheus.configure([], [])
    message = stage.wait("False", "NotSelected", seconds=120)
    assert "ServiceMonitor photos: its spec.serviceMonitorSelector wants label release=" in message
    row = stage.place.cluster.row("InferenceGateway", stage.place.namespace, "photos")
    assert (row["Ready"], row["Reason"]) == ("True", "NotSelected")
    stage.prove()


def test_a_scrape_that_fails_is_told_in_prometheus_words(stage: Stage) -> None:
    """The pod is named, and why."""
    stage.prove()
    stage.load(port=1)
    message = stage.wait("False", "TargetDown", seconds=120)
    assert stage.pod()["metadata"]["name"] in message
    wait_for(
        lambda: "connection refused" in stage.place.condition("MonitoringReady")["message"],
        "Prometheus' words",
    )
    stage.prove()


def test_a_prometheus_that_is_gone_proves_nothing(stage: Stage) -> None:
    """Unknown, the numbers stay; it comes back, and the proof with it."""
    stage.prove()
    stage.wait("True", "WithinBudget", "SLOMet")
    before = stage.place.gateway()["status"]["slo"]
    stage.prometheus.kill()
    message = stage.wait("Unknown", "PrometheusUnreachable")
    assert stage.prometheus.url in message
    stage.wait("Unknown", "PrometheusUnreachable", "SLOMet")
    assert stage.place.gateway()["status"]["slo"] == before
    stage.prometheus.start()
    stage.wait("True", "Monitored")
    stage.wait("True", "WithinBudget", "SLOMet")


def test_a_drill_arrives_and_ends_by_itself(stage: Stage) -> None:
    """Through rules, Prometheus and Alertmanager; an event and the status say when it was where."""
    stage.prove()
    stage.wait("True", "WithinBudget", "SLOMet")
    place, alertmanager = stage.place, stage.alertmanager
    asked_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=14, seconds=20)
    time_asked = stage.drill(asked_at)
    stage.wait("Unknown", "DrillPending", "AlertDrillSeen")
    with place.recording() as writes:
        stage.load()
        message = stage.wait("True", "DrillDelivered", "AlertDrillSeen")
    assert f"Alertmanager {alertmanager.url} had received it by " in message
    assert message.endswith(", for receiver nobody")
    (alert,) = alertmanager.alerts()
    assert alert["labels"]["severity"] == "critical"
    assert (alert["labels"]["drill"], alert["labels"]["gateway"]) == (time_asked, "photos")
    drill = place.gateway()["status"]["alertDrill"]
    assert drill["requestedAt"] == time_asked
    assert time_asked <= drill["firingAt"] <= drill["deliveredAt"]
    assert {it.resource for it in writes} <= {"inferencegateways", "events"}
    told = place.cluster.list_all("Event", place.namespace)
    assert [it["type"] for it in told if it["reason"] == "DrillDelivered"] == ["Normal"]

    place.wait_settled()
    with place.recording() as writes:
        wait_for(lambda: not stage.firing(), "its end", timeout_seconds=60)
        wait_for(lambda: not alertmanager.alerts(), "Alertmanager to know", timeout_seconds=30)
    assert writes == []
    assert place.gateway()["status"]["alertDrill"] == drill
    stage.end_drill()


def test_a_drill_that_is_silenced_is_told(stage: Stage) -> None:
    """Whoever had forgotten the silence learns of it; once it is gone, the drill gets through."""
    stage.prove()
    now = datetime.now(UTC)
    silence = {
        "matchers": [{"name": "namespace", "value": "demo", "isRegex": False}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "somebody",
        "comment": "forgotten",
    }
    silenced = stage.alertmanager.ask("/api/v2/silences", silence)["silenceID"]
    stage.drill(now)
    stage.load()
    message = stage.wait("False", "DrillKeptBack", "AlertDrillSeen")
    assert f"but notifies nobody: it is silenced by {silenced}" in message
    row = stage.place.cluster.row("InferenceGateway", stage.place.namespace, "photos")
    assert (row["Ready"], row["Reason"]) == ("True", "DrillKeptBack")

    stage.alertmanager.expire(silenced)
    stage.wait("True", "DrillDelivered", "AlertDrillSeen")
    stage.end_drill()
    assert "alertDrill" not in stage.place.gateway()["status"]


def test_a_drill_without_an_alertmanager_is_told(stage: Stage) -> None:
    """Rules that fire into nothing: no real page would get through either."""
    stage.prove()
    stage.drill(datetime.now(UTC))
    stage.load(alerting=False)
    words = "it knows no Alertmanager to send it to yet"
    wait_for(lambda: words in stage.place.condition("AlertDrillSeen").get("message", ""), words)
    stage.end_drill()


def test_a_new_threshold_begins_a_new_budget(stage: Stage) -> None:
    """Not proven until Prometheus has the new rules; an event says what happens."""
    stage.prove()
    place = stage.place
    threshold = {"latency": {"threshold": "170ms"}}
    place.apply(replicas=1, observability=QUIET, slo=threshold)
    stage.wait("Unknown", "AwaitingPrometheus")
    wait_for(
        lambda: any(
            it["reason"] == "BudgetRestarted"
            for it in place.cluster.list_all("Event", place.namespace)
        ),
        "the event",
    )
    latency = place.gateway()["status"]["slo"][1]
    assert "budgetRemaining" not in latency
    place.apply(replicas=1, observability=QUIET)
    place.wait_settled()
    stage.prove()


def test_a_pod_that_follows_old_settings_is_named(stage: Stage) -> None:
    """An edit is not in force before the pod says so; nothing else has to happen for it."""
    stage.prove()
    place = stage.place
    logged = {"logging": {"level": "debug", "samplingPercent": {"info": 5}}}
    place.apply(replicas=1, observability=QUIET | logged)
    # A pod is not held to it before it has been ready for two minutes.
    message = stage.wait("Unknown", "AwaitingSettings", seconds=150)
    assert f"Pod {stage.pod()['metadata']['name']} follows other live settings" in message
    row = place.cluster.row("InferenceGateway", place.namespace, "photos")
    assert (row["Ready"], row["Reason"]) == ("True", "Serving"), "nobody has to be called yet"

    stage.follow()
    stage.wait("True", "Monitored")
    stage.wait("True", "WithinBudget", "SLOMet")
    place.wait_settled()
    with place.recording() as writes:
        time.sleep(4)  # as many rounds
    assert writes == []


def test_rules_that_admission_denies_are_named(stage: Stage) -> None:
    """A real policy: the condition has the object and the policy's words; the gateway serves."""
    stage.prove()
    place, words = stage.place, "rules are written by hand here"
    with denying(place, kinds.PROMETHEUS_RULE, words):
        place.cluster.delete("PrometheusRule", place.namespace, "photos-slo")
        message = stage.wait("False", "ApplyRejected", seconds=60)
        assert "PrometheusRule photos-slo" in message
        assert words in message
        row = place.cluster.row("InferenceGateway", place.namespace, "photos")
        assert (row["Ready"], row["Reason"]) == ("True", "ApplyRejected")
    stage.wait("True", "Monitored", seconds=120)


def test_a_namesake_is_measured_apart_and_a_new_name_begins_anew(stage: Stage) -> None:
    """Two gateways called photos, one of which fails all the time and is then renamed."""
    stage.prove()
    wait_for(lambda: stage.budget() == "100.0%", "a whole budget", 60)
    prod = Place(stage.place.cluster, "prod")
    prod.make(replicas=1, observability=QUIET)
    with StubRuntime() as failing:
        stage.load(also=[(prod, "photos", failing.port)])
        wait_for(lambda: said_of(prod, "photos") == ("True", "Monitored"), "the proof", 60)
        failing.bad_requests += 100_000
        wait_for(lambda: budget_of(prod, "photos").startswith("-"), "the budget to be gone", 60)
        assert stage.budget() == "100.0%"

        prod.cluster.delete("InferenceGateway", "prod", "photos")
        prod.make("pictures", replicas=1, observability=QUIET)
        assert said_of(prod, "pictures") == ("Unknown", "AwaitingPrometheus")
        assert budget_of(prod, "pictures") == ""
    with StubRuntime() as well:
        stage.load(also=[(prod, "pictures", well.port)])
        wait_for(lambda: said_of(prod, "pictures") == ("True", "Monitored"), "the proof", 60)
        wait_for(lambda: budget_of(prod, "pictures") == "100.0%", "a whole budget", 60)
    prod.cluster.delete("InferenceGateway", "prod", "pictures")
    stage.prove()


def test_scaled_to_zero_nobody_is_called(stage: Stage) -> None:
    """There is nothing to scrape: that is no fault, neither here nor in Prometheus."""
    stage.prove()
    place = stage.place
    place.apply(replicas=0, observability=QUIET)
    stage.load(pods=False)
    stage.wait("Unknown", "AwaitingPrometheus", seconds=120)  # scraped once a minute is scraped
    mine = '{namespace="demo",gateway="photos"}'
    wait_for(lambda: not stage.prometheus.query(f"up{mine}"), "no target", 60)
    time.sleep(5)  # as many evaluations, of which each could make an alert pending
    assert stage.prometheus.query(f"ALERTS{mine}") == []
    assert stage.place.condition("Ready")["reason"] == "ScaledToZero"
    place.apply(replicas=1, observability=QUIET)
    stage.prove()


def test_a_spent_budget_shows(stage: Stage) -> None:
    """Minutes after the start it is little history; the number is true all the same."""
    stage.prove()
    stage.stub.bad_requests += 100_000
    budget = "the budget to be gone"
    wait_for(lambda: stage.budget().startswith("-"), budget, timeout_seconds=60)
    message = stage.wait("Unknown", "TooLittleHistory", "SLOMet")
    assert "of the availability budget is left" in message
    row = stage.place.cluster.row("InferenceGateway", stage.place.namespace, "photos")
    assert row["Budget"].startswith("-")
