from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from igw_operator.plan.collector_config import BUCKETS_SECONDS
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import REQUEST_BUCKETS
from plan_kit.children import build, collector_config, container, pod_spec

KEY = ("Deployment", "photos-collector")


def config(**observability: Any) -> dict[str, Any]:
    """The collector's configuration as it reads it."""
    text = collector_config(build(observability=observability))["data"]["collector.yaml"]
    document = yaml.safe_load(text)
    assert isinstance(document, dict)
    return document


def test_keeps_errors_slow_requests_and_a_share() -> None:
    """What is remarkable is kept whole; of the rest, the user's share."""
    policies = config(tracing={"samplingPercent": 2.5})["processors"]["tail_sampling"]["policies"]
    assert [policy["type"] for policy in policies] == [
        "status_code",
        "boolean_attribute",
        "probabilistic",
    ]
    assert policies[1]["boolean_attribute"] == {"key": names.SLOW, "value": True}
    assert policies[2]["probabilistic"] == {"sampling_percentage": 2.5}


def test_limits_memory_before_anything_else() -> None:
    """Memory first, whole traces next, batches last."""
    pipelines = config()["service"]["pipelines"]
    assert pipelines["traces"]["processors"] == ["memory_limiter"]
    assert pipelines["traces"]["receivers"] == ["otlp"]
    assert pipelines["traces/kept"]["processors"] == ["tail_sampling", "batch"]


def test_counts_spans_before_it_samples() -> None:
    """What is dropped is counted too; and an edit of the SLO is no other configuration."""
    document = config()
    pipelines = document["service"]["pipelines"]
    assert pipelines["traces"]["exporters"] == ["span_metrics", "forward"]
    assert pipelines["traces/kept"]["receivers"] == ["forward"]
    assert pipelines["metrics"] == {"receivers": ["span_metrics"], "exporters": ["prometheus"]}
    counting = document["connectors"]["span_metrics"]
    assert counting["dimensions"] == [{"name": names.OVER_OBJECTIVE}]
    assert counting["histogram"]["unit"] == "s"


def test_counts_in_the_runtimes_own_buckets() -> None:
    """Both are written down once on each side."""
    assert BUCKETS_SECONDS == REQUEST_BUCKETS
    buckets = config()["connectors"]["span_metrics"]["histogram"]["explicit"]["buckets"]
    assert [float(it.removesuffix("ms")) / 1000 for it in buckets] == list(REQUEST_BUCKETS)


def test_declares_everything_that_its_pipeline_uses() -> None:
    """No part is used undeclared, none declared unused."""
    document = config(tracing={"endpoint": "tempo:4317"})
    pipelines = document["service"]["pipelines"].values()
    connectors = set(document["connectors"])
    for part in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline.get(part, ())}
        assert used - connectors == set(document[part])
        assert used >= connectors or part == "processors"
    assert set(document["service"]["extensions"]) == set(document["extensions"])


def test_prints_one_line_a_span_when_there_is_no_backend() -> None:
    """A request can be followed from its log line without any trace backend."""
    pipeline = config()["service"]["pipelines"]["traces/kept"]
    assert pipeline["exporters"] == ["debug"]
    assert config()["exporters"]["debug"] == {"verbosity": "normal"}


@pytest.mark.parametrize(
    ("endpoint", "insecure"),
    [("tempo:4317", True), ("http://tempo:4317", True), ("https://tempo:4317", False)],
)
def test_sends_to_the_backend(endpoint: str, insecure: bool) -> None:
    """With a backend nothing is printed; https means TLS."""
    document = config(tracing={"endpoint": endpoint})
    assert document["service"]["pipelines"]["traces/kept"]["exporters"] == ["otlp_grpc"]
    exporter = document["exporters"]["otlp_grpc"]
    assert (exporter["endpoint"], exporter["tls"]) == (endpoint, {"insecure": insecure})


def test_bounds_what_waits_for_the_backend() -> None:
    """By spans, not by batches of any size; a full queue drops and never blocks."""
    exporter = config(tracing={"endpoint": "tempo:4317"})["exporters"]["otlp_grpc"]
    assert exporter["sending_queue"] == {
        "enabled": True,
        "sizer": "items",
        "queue_size": 50_000,
        "block_on_overflow": False,
    }
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "300s"


def test_waits_for_the_slowest_request() -> None:
    """A trace is not judged before its last span can have come."""
    text = collector_config(build(serving={"timeout": "90s"}))["data"]["collector.yaml"]
    sampling = yaml.safe_load(text)["processors"]["tail_sampling"]
    assert sampling["decision_wait"] == "96s"


def test_starts_anew_when_its_configuration_changes() -> None:
    """The collector reads its configuration once, and each pod the one it was made for."""
    one, other = (
        build(observability={"tracing": {"samplingPercent": percent}}) for percent in (1, 2)
    )
    assert one[KEY]["spec"]["template"] != other[KEY]["spec"]["template"]
    assert ("ConfigMap", collector_config(one)["metadata"]["name"]) not in other


def test_names_its_configuration_by_what_is_in_it() -> None:
    """The same text is the same object; whatever else is edited touches it not."""
    one, other = build(), build(slo={"latency": {"threshold": "150ms"}}, serving={"maxBatch": 8})
    assert collector_config(one) == collector_config(other)
    assert re.fullmatch(r"photos-collector-[0-9a-f]{10}", collector_config(one)["metadata"]["name"])


def test_checks_its_configuration_before_it_starts() -> None:
    """With its own image and the very file, before the old collector is let go."""
    (check,) = pod_spec(build()[KEY])["initContainers"]
    collector = container(build()[KEY])
    assert check["args"] == ["validate", *collector["args"]]
    for key in ("image", "imagePullPolicy", "env", "resources", "securityContext", "volumeMounts"):
        assert check[key] == collector[key]
    assert check["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_changes_by_surge() -> None:
    """A new collector is ready before the old one goes."""
    strategy = build()[KEY]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_listens_where_the_service_points() -> None:
    """Ports of configuration, container and Service agree."""
    children = build()
    named = {port["name"]: port["containerPort"] for port in container(children[KEY])["ports"]}
    for port in children["Service", "photos-collector"]["spec"]["ports"]:
        assert named[port["targetPort"]] == port["port"]
    document = config()
    protocols = document["receivers"]["otlp"]["protocols"]
    assert protocols["http"]["endpoint"] == f"0.0.0.0:{named['otlp-http']}"
    span_metrics = document["exporters"]["prometheus"]["endpoint"]
    assert span_metrics == f"0.0.0.0:{named['span-metrics']}"


def test_is_scraped_as_what_it_is() -> None:
    """By its own Service alone, and under a label by which no pod that serves is counted."""
    children = build()
    monitor = children["ServiceMonitor", "photos-collector"]["spec"]
    (expression,) = monitor["selector"]["matchExpressions"]
    selected = [
        (name, {port["name"] for port in child["spec"]["ports"]})
        for (kind, name), child in children.items()
        if kind == "Service"
        and monitor["selector"]["matchLabels"].items() <= child["metadata"]["labels"].items()
        and child["metadata"]["labels"][expression["key"]] in expression["values"]
    ]
    ((name, ports),) = selected
    assert name == "photos-collector"
    scraped = [endpoint["port"] for endpoint in monitor["endpoints"]]
    assert scraped == ["metrics", "span-metrics"]
    assert ports >= set(scraped)
    for endpoint in monitor["endpoints"]:
        labels = {
            it["targetLabel"]: it["replacement"]
            for it in endpoint["relabelings"]
            if "replacement" in it
        }
        assert labels == {"gateway": "photos", "component": "collector"}


@pytest.mark.parametrize(
    "observability",
    [
        {"tracing": {"enabled": False}},
        {"collector": {"mode": "Disabled"}},
        {"collector": {"mode": "External", "endpoint": "http://o:4318"}},
    ],
    ids=["tracing off", "disabled", "external"],
)
def test_is_absent_when_not_wanted(observability: dict[str, Any]) -> None:
    """No object of a collector exists where the operator runs none."""
    names = {name for _, name in build(observability=observability)}
    assert "photos-collector" not in names


@pytest.mark.integration
@pytest.mark.parametrize("endpoint", [None, "tempo:4317", "https://tempo:4317"])
def test_is_configured_as_the_collector_takes_it(
    otelcol: str, tmp_path: Path, endpoint: str | None
) -> None:
    """The pinned collector's own check accepts the configuration."""
    tracing = {"endpoint": endpoint} if endpoint else {}
    path = tmp_path / "collector.yaml"
    path.write_text(yaml.safe_dump(config(tracing=tracing)))
    result = subprocess.run(
        [otelcol, "validate", f"--config={path}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_needs_no_right_in_the_cluster() -> None:
    """The collector's identity has no token and nothing grants it anything."""
    children = build()
    account = children["ServiceAccount", "photos-collector"]
    assert account["automountServiceAccountToken"] is False
    assert not {kind for kind, _ in children if "Role" in kind}
