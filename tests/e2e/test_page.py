"""A page that means something: from a fault to whoever is called; and what an edit of it costs.

On the cluster's own Prometheus and Alertmanager; a webhook takes the pager's place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from PIL import Image

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.kubectl import Json, Kubectl
from harness.shell import say, wait_for
from harness.webhook import Notified, Webhook
from plan_kit.alertmanager import shipped_config

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAMESPACE: Final = "e2e-page"
MONITORING: Final = "monitoring"
BURN: Final = "InferenceGatewayAvailabilityBudgetBurn"
DRILL: Final = "InferenceGatewayAlertDrill"
ANNOTATION: Final = "inference.igw.dev/alert-drill"
RULES_SECONDS: Final = 5
LOADED_SECONDS: Final = 30
# Ten bad events, two minutes that the alert waits, and half of one that Alertmanager does.
PAGE_SECONDS: Final = 420
# The shortest that there is, and a picture that nobody decodes within it.
SERVING: Final = {"timeout": "100ms"}
SLO: Final = {"latency": {"threshold": "50ms"}}
SIDE_PIXELS: Final = 7000


class Pager:
    """A gateway, somebody who asks it, and who is called about it."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.gateway = Gateway(kubectl, NAMESPACE)
        self.client = Client(kubectl, NAMESPACE)
        self.webhook = Webhook(kubectl, NAMESPACE)

    def configure(self, config: str, receiver: str) -> None:
        """Give Alertmanager a configuration, as its owner does, and wait until it has it."""
        patch = json.dumps({"stringData": {"alertmanager.yaml": config}})
        secret = ("secret", "alertmanager-config", "-n", MONITORING)
        self.kubectl("patch", *secret, "--type=merge", "-p", patch)

        def has_it() -> bool:
            status = self.ask("alertmanager", "/api/v2/status")
            return bool(
                yaml.safe_load(status["config"]["original"])["route"]["receiver"] == receiver
            )

        wait_for("Alertmanager's configuration", has_it, timeout_seconds=180, every_seconds=2)

    def ask(self, service: str, path: str) -> Any:
        """GET of Prometheus or Alertmanager, through the API server's proxy."""
        return json.loads(self.kubectl("get", "--raw", _proxy(service, path)))

    def loaded(self) -> list[Json]:
        """The gateway's rules as Prometheus has them."""
        groups = self.ask("prometheus", "/api/v1/rules")["data"]["groups"]
        mine = f"igw-{NAMESPACE}-photos-"
        return [rule for it in groups if it["name"].startswith(mine) for rule in it["rules"]]

    def send(self, labels: Json) -> None:
        """Put an alert into Alertmanager, as a Prometheus would."""
        answer = self.client.post(
            f"http://alertmanager.{MONITORING}.svc:9093/api/v2/alerts",
            json.dumps([{"labels": labels}]).encode(),
            content_type="application/json",
        )
        assert answer.status == 200, answer.body

    def alerts(self, alert: str, **labels: str) -> list[Json]:
        """The alerts of the gateway that Alertmanager has, by name and some labels."""
        wanted = {"alertname": alert, "namespace": NAMESPACE, **labels}.items()
        found = self.ask("alertmanager", "/api/v2/alerts")
        return [it for it in found if wanted <= it["labels"].items()]

    def wait_called(self, alert: str, seconds: float, **labels: str) -> Notified:
        """The first notification of an alert of the gateway."""

        def called() -> Notified | None:
            found = self.webhook.notified(alert, namespace=NAMESPACE, **labels)
            return found[0] if found else None

        return wait_for(f"{alert} in the webhook", called, timeout_seconds=seconds, every_seconds=2)

    def pods(self) -> dict[str, int]:
        """Every pod that an edit could restart, the gateway's and monitoring's: its restarts."""
        pods = [*self.kubectl.items("pods", NAMESPACE), *self.kubectl.items("pods", MONITORING)]
        return {
            pod["metadata"]["uid"]: sum(
                it["restartCount"] for it in pod["status"].get("containerStatuses", [])
            )
            for pod in pods
        }


def _proxy(service: str, path: str) -> str:
    return f"/api/v1/namespaces/{MONITORING}/services/{service}:web/proxy{path}"


@pytest.fixture(scope="module")
def pager(kubectl: Kubectl) -> Iterator[Pager]:
    """A Ready gateway whose pages go to a webhook; all else of Alertmanager is as it is shipped."""
    pager = Pager(kubectl)
    kubectl("create", "namespace", NAMESPACE)
    shipped = shipped_config()
    config = yaml.safe_load(shipped)
    config["receivers"].append(
        {"name": "webhook", "webhook_configs": [{"url": pager.webhook.url, "send_resolved": False}]}
    )
    config["route"]["receiver"] = "webhook"
    pager.gateway.apply(serving=SERVING, slo=SLO, observability={"collector": {"mode": "Disabled"}})
    pager.client.start(RUNTIME_IMAGE)
    pager.webhook.start(RUNTIME_IMAGE)
    try:
        pager.configure(yaml.safe_dump(config), "webhook")
        pager.gateway.wait_ready()
        yield pager
    finally:
        pager.configure(shipped, "nobody")
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_an_edit_is_loaded_within_half_a_minute_and_restarts_nothing(
    pager: Pager, capsys: pytest.CaptureFixture[str]
) -> None:
    """PrometheusRule within 5 s, Prometheus within 30 s; every pod is the one of before."""
    wait_for("the first rules", pager.loaded, timeout_seconds=120, every_seconds=1)
    before = pager.pods()

    edited = time.monotonic()
    pager.gateway.patch({"slo": {"availability": {"objective": 99.7}}})
    wait_for(
        "the objective in the PrometheusRule",
        lambda: "vector(0.997)" in str(_rule(pager)),
        timeout_seconds=RULES_SECONDS,
        every_seconds=0.2,
    )
    written = time.monotonic() - edited
    wait_for(
        "the objective in Prometheus",
        lambda: any(it["query"] == "vector(0.997)" for it in pager.loaded()),
        timeout_seconds=LOADED_SECONDS,
        every_seconds=0.5,
    )
    loaded = time.monotonic() - edited

    assert pager.pods() == before
    with capsys.disabled():
        say(f"\nSLO edit: PrometheusRule after {written:.1f} s, in Prometheus after {loaded:.1f} s")


def test_a_drill_is_seen_and_recorded(pager: Pager, capsys: pytest.CaptureFixture[str]) -> None:
    """By the operator in Prometheus and Alertmanager, and by whoever is called."""
    asked_at = datetime.now(UTC).replace(microsecond=0)
    value = asked_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    here = ("igw", "photos", "-n", NAMESPACE)
    pager.kubectl("annotate", *here, "--overwrite", f"{ANNOTATION}={value}")

    called = pager.wait_called(DRILL, 240, drill=value)
    pager.kubectl(
        *("wait", *here, "--for=condition=AlertDrillSeen", "--timeout=120s"), timeout_seconds=140
    )

    assert (called.labels["severity"], called.labels["gateway"]) == ("critical", "photos")
    assert "Nothing is wrong" in called.annotations["summary"]
    seen = pager.gateway.condition("AlertDrillSeen")
    assert (seen["status"], seen["reason"]) == ("True", "DrillDelivered")
    assert "for receiver webhook" in seen["message"]
    found = pager.kubectl.get(*here[:2], NAMESPACE) or {}
    drill = found["status"]["alertDrill"]
    assert value == drill["requestedAt"] <= drill["firingAt"] <= drill["deliveredAt"]
    described = pager.kubectl("describe", *here)
    assert "DrillDelivered" in described.partition("\nEvents:")[2]
    with capsys.disabled():
        took = called.at - asked_at.timestamp()
        say(f"\nDrill: in the webhook {took:.0f} s after it was asked for")

    pager.kubectl("annotate", *here, f"{ANNOTATION}-")
    wait_for(
        "no word of it", lambda: not pager.gateway.condition("AlertDrillSeen"), timeout_seconds=10
    )


def test_a_fault_calls_somebody_once(
    pager: Pager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests begin to time out, and a page arrives; the ticket of the same budget is kept back.

    Clients send pictures that take longer to decode than `spec.serving.timeout` allows.
    """
    picture = tmp_path / "large.png"
    Image.new("RGB", (SIDE_PIXELS, SIDE_PIXELS), "gray").save(picture)
    url = f"{pager.gateway.url}/predict"

    begun = time.time()
    assert pager.client.post(url, picture, content_type="image/png").status == 504
    with pager.client.load(url, picture, per_second=1, most_seconds=PAGE_SECONDS + 60):
        called = pager.wait_called(BURN, PAGE_SECONDS, slo="availability")
        assert called.labels["burn"] == "fast"
        assert called.labels["severity"] == "critical"
        assert "times as fast as its objective" in called.annotations["description"]
        # Its rule needs hours; of its alert, what Alertmanager does with it is seen at once.
        (ticket,) = (it for it in _alert_labels(pager) if it.get("burn") == "slow")
        pager.send(ticket)
        (kept_back,) = wait_for(
            "the ticket to be kept back",
            lambda: [it for it in pager.alerts(BURN, burn="slow") if it["status"]["inhibitedBy"]],
            timeout_seconds=20,
        )
    page, *others = pager.alerts(BURN, burn="fast", slo="availability")

    assert others == []
    assert kept_back["status"]["inhibitedBy"] == [page["fingerprint"]]
    assert page["status"]["state"] == "active"
    assert pager.webhook.notified(BURN, burn="slow") == []
    with capsys.disabled():
        say(f"\nPage: in the webhook {called.at - begun:.0f} s after the first failed request")


def _rule(pager: Pager) -> Json:
    found = pager.kubectl.get("prometheusrule", "photos-slo", NAMESPACE)
    assert found is not None
    return found


def _alert_labels(pager: Pager) -> Iterator[Json]:
    """The labels with which the gateway's rules raise their availability burn alerts."""
    for group in _rule(pager)["spec"]["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == BURN:
                yield {"alertname": BURN, **rule["labels"]}
