from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

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


@pytest.mark.integration
def test_counts_and_loses_under_the_names_that_are_asked_for(otelcol: str, tmp_path: Path) -> None:
    """Run as it is rendered, but for ports and patience, with a backend that is not there."""
    document = config(tracing={"endpoint": "127.0.0.1:1"})
    ports = {f"0.0.0.0:{port}": f"127.0.0.1:{free_port()}" for port in (4317, 4318, 8889, 13133)}
    own = document["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]
    own["prometheus"] = {"host": "127.0.0.1", "port": free_port()}
    document["connectors"]["span_metrics"]["metrics_flush_interval"] = "100ms"
    document["processors"]["tail_sampling"] |= {
        "decision_wait": "1s",
        "decision_wait_after_root_received": "1s",
    }
    document["processors"]["batch"] = {"timeout": "100ms"}
    document["exporters"]["otlp_grpc"] |= {"timeout": "1s", "retry_on_failure": {"enabled": False}}
    text = yaml.safe_dump(document)
    for shipped, free in ports.items():
        text = text.replace(shipped, free)
    path = tmp_path / "collector.yaml"
    path.write_text(text)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([otelcol, f"--config={path}"], stdout=log, stderr=log)
    try:
        send = f"http://{ports['0.0.0.0:4318']}/v1/traces"
        wait_for(lambda: fetch(send, a_span()), "the collector to take a span")
        wait_for(
            lambda: (
                'inference_over_objective="true"'
                in fetch(f"http://{ports['0.0.0.0:8889']}/metrics")
            ),
            "the span to be counted",
        )
        metrics = f"http://127.0.0.1:{own['prometheus']['port']}/metrics"
        wait_for(lambda: lost(fetch(metrics)) >= 1, "the loss to be counted")
        assert "\notelcol_receiver_refused_spans_total{" in fetch(metrics)
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fetch(url: str, body: dict[str, Any] | None = None) -> str:
    """The answer; empty while there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers={"content-type": "application/json"})  # noqa: S310 - on loopback
    try:
        with urlopen(request, timeout=2) as answer:  # noqa: S310 - see above
            return str(answer.read().decode())
    except OSError:
        return ""


def lost(page: str) -> float:
    """Spans that the backend did not take."""
    values = re.findall(r"^otelcol_exporter_send_failed_spans_total{.*} (\S+)$", page, re.MULTILINE)
    return sum(map(float, values))


def a_span() -> dict[str, Any]:
    """A failed trace of one span, over the objective, as OTLP's JSON has it."""
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "POST /predict",
        "kind": 2,
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712660350000000",
        "attributes": [{"key": names.OVER_OBJECTIVE, "value": {"boolValue": True}}],
        "status": {"code": 2},  # an error, so that it is kept
    }
    # Without a name of the service no span is counted.
    service = {"key": "service.name", "value": {"stringValue": "photos"}}
    scopes = [{"spans": [span]}]
    return {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": scopes}]}


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Look again until it is so."""
    ends_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends_at, f"waited 30 s for {what}"
        time.sleep(0.1)


def test_needs_no_right_in_the_cluster() -> None:
    """The collector's identity has no token and nothing grants it anything."""
    children = build()
    account = children["ServiceAccount", "photos-collector"]
    assert account["automountServiceAccountToken"] is False
    assert not {kind for kind, _ in children if "Role" in kind}
