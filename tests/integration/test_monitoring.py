"""MonitoringReady, SLOMet and BUDGET against a real Prometheus.

API server, controllers, operator and Prometheus are real; pods and their metrics are played, and
so is what the Prometheus Operator makes of monitors and rules.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from igw_operator import kinds
from igw_runtime.settings import parse_settings
from integration.cluster import Cluster, Manifest, wait_for
from integration.conftest import Place
from integration.fake_pods import FakePods
from integration.operator_process import OperatorProcess, install
from integration.prometheus_process import PrometheusProcess, StubRuntime, scrape_job
from localnode.controlplane import ControlPlane
from node_parts import need_parts, shared_folder

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
    ) -> None:
        self.place = place
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

    def load(self, port: int = 0) -> None:
        """What the Prometheus Operator does when it has selected all of it."""
        namespace = self.place.namespace
        jobs = [
            scrape_job("operator", self.operator.metrics_port),
            scrape_job(
                f"serviceMonitor/{namespace}/photos/0",
                port or self.stub.port,
                namespace=namespace,
                gateway="photos",
                pod=self.pod()["metadata"]["name"],
            ),
        ]
        rules = self.place.must_get("PrometheusRule", "photos-slo")
        self.prometheus.configure(jobs, rules["spec"]["groups"])

    def pod(self) -> Manifest:
        """The gateway's only pod."""
        wait_for(self._pods, "the pod")
        return self._pods()[0]

    def budget(self) -> str:
        """What the status says is left."""
        return str(self.place.gateway()["status"].get("budget", ""))

    def _pods(self) -> list[Manifest]:
        return self.place.cluster.list_all("Pod", self.place.namespace)

    def wait(
        self, status: str, reason: str, kind: str = "MonitoringReady", seconds: int = 60
    ) -> str:
        """Wait until a condition is so, and return its message."""

        def said() -> tuple[str, str]:
            found = self.place.condition(kind)
            return found.get("status", ""), found.get("reason", "")

        wait_for(
            lambda: said() == (status, reason),
            f"{kind} to be {status} {reason}, not {said()}",
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


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything at work, and the gateway Ready; monitoring is still to be taken up."""
    need_parts("prometheus")
    crds = shared_folder("prometheus-operator", "prometheus-operator-crds")
    folder = tmp_path_factory.mktemp("monitoring")
    with ControlPlane(folder / "plane") as plane, StubRuntime() as stub, FakePods(plane):
        cluster = Cluster(plane)
        install(cluster, prometheus_crds=crds)
        prometheus = PrometheusProcess(folder)
        operator = OperatorProcess(
            plane, folder, IGW_PROMETHEUS_URL=prometheus.url, IGW_MONITORING_SECONDS="1"
        )
        stage = Stage(Place(cluster, "demo"), prometheus, stub, operator)
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
    place.wait_settled()
    with place.recording() as writes:
        time.sleep(4)  # as many rounds
    assert writes == []


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
