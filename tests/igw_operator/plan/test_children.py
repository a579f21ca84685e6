from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from igw_operator import conventions
from igw_operator.plan.children import build_children
from plan_kit.cases import CASES, GOLDEN, dump, render_case
from plan_kit.children import EVERY_API, an_input, build

OPTIONAL_KINDS = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("case", CASES)
def test_renders_each_case_as_reviewed(case: str, update_golden: bool) -> None:
    """Nothing that users' clusters see changes without a golden that shows it."""
    path = GOLDEN / case / "out.yaml"
    rendered = dump(render_case(case))
    if update_golden:
        path.write_text(rendered)
    assert path.read_text() == rendered


@pytest.mark.integration
@pytest.mark.parametrize("case", [case for case in CASES if case != "minimal"])
def test_renders_rules_that_prometheus_takes(case: str, promtool: str, tmp_path: Path) -> None:
    """Every golden's rules pass Prometheus' own check."""
    documents = yaml.safe_load_all((GOLDEN / case / "out.yaml").read_text())
    (rule,) = (document for document in documents if document["kind"] == "PrometheusRule")
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(rule["spec"]))
    result = subprocess.run(
        [promtool, "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_builds_the_same_bytes_from_the_same_input() -> None:
    """There is no clock, no randomness and no order of sets in what is built."""
    first, second = (json.dumps(build_children(an_input())) for _ in range(2))
    assert first == second


def test_needs_no_optional_api() -> None:
    """Without the Prometheus Operator everything else is built all the same."""
    with_all = build(capabilities=EVERY_API)
    with_none = build(capabilities=type(EVERY_API)())
    assert {kind for kind, _ in with_all.keys() - with_none.keys()} == OPTIONAL_KINDS
    assert with_none.keys() < with_all.keys()


def test_switches_metrics_off() -> None:
    """Without metrics there is nothing that is scraped and nothing that is recorded."""
    children = build(observability={"metrics": {"enabled": False}})
    assert not OPTIONAL_KINDS & {kind for kind, _ in children}
    assert ("Service", "photos-metrics") not in children


@pytest.mark.parametrize(
    "name",
    ["photos", "p", "x" * 53, "x" * 54, "x" * 63],
    ids=["plain", "one letter", "just fits", "is cut", "longest possible"],
)
def test_names_children_as_kubernetes_allows(name: str) -> None:
    """Whatever a gateway is called, its children's names and labels are valid."""
    for child in build_children(an_input(name=name)):
        metadata = child["metadata"]
        # The name of a ConfigMap is a subdomain; all others may become labels or host names.
        limit = 253 if child["kind"] == "ConfigMap" else conventions.NAME_LIMIT
        assert len(metadata["name"]) <= limit
        assert metadata["namespace"] == "demo"
        assert all(len(value) <= conventions.NAME_LIMIT for value in metadata["labels"].values())


SLO_EDITS: dict[str, dict[str, Any]] = {
    "objectives": {"availability": {"objective": 99.9}, "latency": {"objective": 95.0}},
    "threshold": {"latency": {"threshold": "150ms"}},
    "window": {"window": "7d"},
    "alerting": {"alerting": {"labels": {"team": "vision"}}},
}


@pytest.mark.parametrize("slo", SLO_EDITS.values(), ids=SLO_EDITS)
def test_restarts_no_pod_for_an_slo_edit(slo: dict[str, Any]) -> None:
    """An SLO edit leaves every Deployment as it is: the runtime's and the collector's."""
    before, after = build(), build(slo=slo)
    deployments = [key for key in before if key[0] == "Deployment"]
    assert len(deployments) == 2
    assert [before[key] for key in deployments] == [after[key] for key in deployments]
    assert before["PrometheusRule", "photos-slo"] != after["PrometheusRule", "photos-slo"]


@pytest.mark.parametrize(
    "observability",
    [
        {"logging": {"level": "debug"}},
        {"logging": {"samplingPercent": {"info": 1}}},
        {"logging": {"maxBytesPerSecond": "8Ki"}},
        {"tracing": {"slowThreshold": "2s"}},
        {"tracing": {"enabled": False}},
        {"metrics": {"maxPredictionClasses": 5}},
    ],
    ids=[
        "log level",
        "log share",
        "log budget",
        "slow threshold",
        "tracing off",
        "prediction classes",
    ],
)
def test_restarts_no_runtime_for_a_live_setting(observability: dict[str, Any]) -> None:
    """What is promised to change live is in the mounted file, and not in the pod template."""
    before, after = build(), build(observability=observability)
    key = ("Deployment", "photos")
    assert before[key] == after[key]
    config = ("ConfigMap", "photos-config")
    assert before[config] != after[config]


def test_never_changes_a_selector() -> None:
    """Selectors are immutable: nothing in a spec reaches them."""
    before = build()
    after = build(
        model={"name": "other", "version": "9"},
        replicas=2,
        serving={"timeout": "5s"},
        runtime={"image": "example.org/other:2"},
    )
    for key in (("Deployment", "photos"), ("Deployment", "photos-collector")):
        assert before[key]["spec"]["selector"] == after[key]["spec"]["selector"]


def test_selects_the_pods_that_it_labels() -> None:
    """Each Service, policy and budget selects the labels of exactly one pod template."""
    children = build()
    pods = {
        name: child["spec"]["template"]["metadata"]["labels"]
        for (kind, name), child in children.items()
        if kind == "Deployment"
    }
    selectors = {
        (kind, name): child["spec"].get("selector") or child["spec"].get("podSelector")
        for (kind, name), child in children.items()
        if kind in {"Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment"}
    }
    for (_, name), selector in selectors.items():
        wanted = "photos-collector" if name == "photos-collector" else "photos"
        labels = selector.get("matchLabels", selector)
        assert [pod for pod, has in pods.items() if labels.items() <= has.items()] == [wanted]
