"""One alert an incident: a real Alertmanager with the shipped configuration."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plan_kit.prometheus import build_groups

ROOT = Path(__file__).parents[2]
Alert = dict[str, str]


@pytest.fixture(scope="module")
def config() -> str:
    """The configuration that manifests/monitoring ships."""
    documents = yaml.safe_load_all((ROOT / "manifests/monitoring/alertmanager.yaml").read_text())
    (secret,) = (it for it in documents if it["kind"] == "Secret")
    return str(secret["stringData"]["alertmanager.yaml"])


@pytest.fixture(scope="module")
def alertmanager(config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an Alertmanager of this test's own."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.fail("alertmanager is missing: run `make parts`, or install it")
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yaml").write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        program,
        f"--config.file={folder / 'config.yaml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def labels_of(alert: str, **labels: str) -> Alert:
    """The labels with which the rules of demo/photos raise an alert."""
    found = [
        {"alertname": alert, **rule["labels"]}
        for group in build_groups()
        for rule in group["rules"]
        if rule.get("alert") == alert and labels.items() <= rule["labels"].items()
    ]
    assert len(found) == 1
    return found[0]


def ask(url: str, body: Any = None) -> Any:
    """One call of the API, repeated until the server is up."""
    request = urllib.request.Request(  # noqa: S310 - always http
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - same
                return json.loads(answer.read() or "null")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def find_inhibited(alertmanager: str) -> list[Alert]:
    """The labels of the alerts that are kept back."""
    alerts = ask(f"{alertmanager}/api/v2/alerts")
    return [it["labels"] for it in alerts if it["status"]["inhibitedBy"]]


@pytest.mark.integration
def test_a_page_keeps_back_what_comes_of_the_same_errors(alertmanager: str) -> None:
    """The ticket and the exhausted budget of that objective wait; all others are heard."""
    fast, slow = (
        labels_of("InferenceGatewayAvailabilityBudgetBurn", burn=speed)
        for speed in ("fast", "slow")
    )
    exhausted = labels_of("InferenceGatewayErrorBudgetExhausted", slo="availability")
    bucket = labels_of("InferenceGatewayLatencyBucketMissing")
    absent = labels_of("InferenceGatewayMetricsAbsent")
    others = [
        labels_of("InferenceGatewayLatencyBudgetBurn", burn="slow"),
        labels_of("InferenceGatewayErrorBudgetExhausted", slo="latency"),
        labels_of("InferenceGatewayOperatorBlind"),
        *(it | {"gateway": "cats"} for it in (slow, exhausted, bucket)),
        *(it | {"namespace": "prod"} for it in (slow, exhausted, bucket)),
    ]
    sent = [fast, slow, exhausted, bucket, absent, *others]

    ask(f"{alertmanager}/api/v2/alerts", [{"labels": labels} for labels in sent])

    expected = [slow, exhausted, bucket]
    deadline = time.monotonic() + 20
    while len(found := find_inhibited(alertmanager)) < len(expected):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert len(ask(f"{alertmanager}/api/v2/alerts")) == len(sent)
    assert sorted(map(str, map(sorted, found))) == sorted(map(str, map(sorted, expected)))
    assert all(labels in found for labels in expected)


def test_the_rules_for_ones_own_alertmanager_are_those_that_are_shipped(config: str) -> None:
    """What install.md says is what the test above has tried."""
    text = (ROOT / "docs/install.md").read_text()
    (block,) = re.findall(r"^```yaml\n(inhibit_rules:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(block)["inhibit_rules"] == yaml.safe_load(config)["inhibit_rules"]
