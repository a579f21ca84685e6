"""One alert an incident: a real Alertmanager with the shipped configuration."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from igw_operator.plan.slo.alerts import ALERT_DRILL
from plan_kit.alertmanager import AlertmanagerProcess, shipped_config
from plan_kit.prometheus import build_drill_groups, build_groups

ROOT = Path(__file__).parents[2]
DRILL_AT = "2026-03-04T12:00:00Z"
Alert = dict[str, str]


@pytest.fixture(scope="module")
def config() -> str:
    """The configuration that manifests/monitoring ships."""
    return shipped_config()


@pytest.fixture(scope="module")
def alertmanager(
    config: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AlertmanagerProcess]:
    """An Alertmanager of this test's own."""
    with AlertmanagerProcess(tmp_path_factory.mktemp("alertmanager"), config) as process:
        yield process


def labels_of(alert: str, **labels: str) -> Alert:
    """The labels with which the rules of demo/photos raise an alert."""
    found = [
        {"alertname": alert, **rule["labels"]}
        for group in (*build_groups(), *build_drill_groups(DRILL_AT))
        for rule in group["rules"]
        if rule.get("alert") == alert and labels.items() <= rule["labels"].items()
    ]
    assert len(found) == 1
    return found[0]


def find_inhibited(alertmanager: AlertmanagerProcess) -> list[Alert]:
    """The labels of the alerts that are kept back."""
    return [it["labels"] for it in alertmanager.alerts() if it["status"]["inhibitedBy"]]


@pytest.mark.integration
def test_a_page_keeps_back_what_comes_of_the_same_errors(
    alertmanager: AlertmanagerProcess,
) -> None:
    """The ticket and the exhausted budget of that objective wait; all others are heard.

    A drill keeps nothing back, and nothing keeps it back.
    """
    fast, slow = (
        labels_of("InferenceGatewayAvailabilityBudgetBurn", burn=speed)
        for speed in ("fast", "slow")
    )
    exhausted = labels_of("InferenceGatewayErrorBudgetExhausted", slo="availability")
    bucket = labels_of("InferenceGatewayLatencyBucketMissing")
    absent = labels_of("InferenceGatewayMetricsAbsent")
    drill = labels_of(ALERT_DRILL)
    others = [
        drill,
        drill | {"gateway": "cats"},
        labels_of("InferenceGatewayLatencyBudgetBurn", burn="slow"),
        labels_of("InferenceGatewayErrorBudgetExhausted", slo="latency"),
        labels_of("InferenceGatewayOperatorBlind"),
        *(it | {"gateway": "cats"} for it in (slow, exhausted, bucket)),
        *(it | {"namespace": "prod"} for it in (slow, exhausted, bucket)),
    ]
    sent = [fast, slow, exhausted, bucket, absent, *others]

    alertmanager.ask("/api/v2/alerts", [{"labels": labels} for labels in sent])

    expected = [slow, exhausted, bucket]
    deadline = time.monotonic() + 20
    while len(found := find_inhibited(alertmanager)) < len(expected):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert len(alertmanager.alerts()) == len(sent)
    assert sorted(map(str, map(sorted, found))) == sorted(map(str, map(sorted, expected)))
    assert all(labels in found for labels in expected)


USUAL: Final = {
    "source_matchers": ["severity = critical"],
    "target_matchers": ["severity =~ warning|info"],
}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("equal", "is_kept_back"),
    [(["namespace", "alertname"], True), (["namespace", "alertname", "gateway"], False)],
    ids=["as it comes", "as the page says"],
)
def test_the_usual_rule_needs_one_label_more(
    config: str, tmp_path: Path, equal: list[str], is_kept_back: bool
) -> None:
    """That of kube-prometheus-stack takes two gateways for one; drills it leaves alone."""
    usual = yaml.safe_load(config)
    usual["inhibit_rules"] = [USUAL | {"equal": equal}]
    fast, slow = (
        labels_of("InferenceGatewayAvailabilityBudgetBurn", burn=speed)
        for speed in ("fast", "slow")
    )
    others = slow | {"gateway": "cats"}
    sent = [fast, slow, others, labels_of(ALERT_DRILL), labels_of("InferenceGatewayOperatorBlind")]
    with AlertmanagerProcess(tmp_path, yaml.safe_dump(usual)) as process:
        process.ask("/api/v2/alerts", [{"labels": labels} for labels in sent])
        deadline = time.monotonic() + 20
        while any(it["status"]["state"] == "unprocessed" for it in process.alerts()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found = find_inhibited(process)

    assert slow in found
    assert (others in found) is is_kept_back
    assert len(found) == 1 + is_kept_back


def test_the_rules_for_ones_own_alertmanager_are_those_that_are_shipped(config: str) -> None:
    """What install.md says is what the test above has tried."""
    text = (ROOT / "docs/install.md").read_text()
    (block,) = re.findall(r"^```yaml\n(inhibit_rules:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(block)["inhibit_rules"] == yaml.safe_load(config)["inhibit_rules"]


def test_a_drill_is_a_notification_of_its_own(config: str) -> None:
    """In the group of a real alert it would have to wait for it, or make it wait."""
    grouping = yaml.safe_load(config)["route"]["group_by"]
    drill = labels_of(ALERT_DRILL)
    others = [
        {"alertname": rule["alert"], **rule["labels"]}
        for group in build_groups()
        for rule in group["rules"]
        if "alert" in rule
    ]
    groups = [tuple(labels.get(name) for name in grouping) for labels in (drill, *others)]
    assert groups[0] not in groups[1:]
