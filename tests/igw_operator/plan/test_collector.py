from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

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


def test_sends_messages_that_a_backend_takes() -> None:
    """A gRPC server's own limit is 4 MiB; without a bound a batch is what comes at once."""
    batch = config(tracing={"endpoint": "tempo:4317"})["processors"]["batch"]
    assert batch["send_batch_size"] == batch["send_batch_max_size"]
    assert batch["send_batch_max_size"] * 2048 <= 4 * 2**20


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
    document["exporters"]["otlp_grpc"] |= {"timeout": "1s", "retry_on_failure": {"enabled": False}}
    with running(otelcol, document, tmp_path) as ports:
        wait_for(lambda: fetch(ports.otlp, spans("eee19b7ec3c1b174")), "the collector to take one")
        wait_for(
            lambda: 'inference_over_objective="true"' in fetch(ports.span_metrics),
            "the span to be counted",
        )
        wait_for(lambda: lost(fetch(ports.metrics)) >= 1, "the loss to be counted")
        assert "\notelcol_receiver_refused_spans_total{" in fetch(ports.metrics)


@pytest.mark.integration
def test_a_backend_takes_whatever_is_kept_at_once(otelcol: str, tmp_path: Path) -> None:
    """Six megabytes of failed requests, to a gRPC server that takes four in one message."""
    count = 4000
    with (
        receiving() as backend,
        running(otelcol, config(tracing={"endpoint": backend.address}), tmp_path) as ports,
    ):
        ids = [f"{number:016x}" for number in range(1, count + 1)]
        some = spans(*ids, padding="x" * 1500)
        wait_for(lambda: fetch(ports.otlp, some), "the collector to take them")
        wait_for(lambda: len(backend.ids) == count or lost(fetch(ports.metrics)), "all of them")
        assert backend.ids == set(ids)
        assert lost(fetch(ports.metrics)) == 0


@pytest.mark.integration
def test_a_trace_that_gives_way_to_others_is_counted(otelcol: str, tmp_path: Path) -> None:
    """More of them at once than are held: the first are not judged, though they failed."""
    document = config()
    document["processors"]["tail_sampling"]["num_traces"] = 10
    with running(otelcol, document, tmp_path) as ports:
        ids = [f"{number:016x}" for number in range(1, 31)]
        wait_for(lambda: fetch(ports.otlp, spans(*ids)), "the collector to take them")
        wait_for(lambda: crowded_out(fetch(ports.metrics)) == 20, "20 that were not judged")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where a collector is asked, as URLs."""

    otlp: str
    metrics: str
    span_metrics: str


@contextmanager
def running(otelcol: str, document: dict[str, Any], folder: Path) -> Iterator[Ports]:
    """A collector that runs as it is rendered, but for ports and patience."""
    ports = {port: free_port() for port in (4317, 4318, 8888, 8889, 13133)}
    own = document["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]
    own["prometheus"] = {"host": "127.0.0.1", "port": ports[8888]}
    document["connectors"]["span_metrics"]["metrics_flush_interval"] = "100ms"
    document["processors"]["tail_sampling"] |= {
        "decision_wait": "1s",
        "decision_wait_after_root_received": "1s",
    }
    document["processors"]["batch"]["timeout"] = "1s"
    text = yaml.safe_dump(document)
    for shipped, free in ports.items():
        text = text.replace(f"0.0.0.0:{shipped}", f"127.0.0.1:{free}")
    path = folder / "collector.yaml"
    path.write_text(text)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([otelcol, f"--config={path}"], stdout=log, stderr=log)
    try:
        yield Ports(
            otlp=f"http://127.0.0.1:{ports[4318]}/v1/traces",
            metrics=f"http://127.0.0.1:{ports[8888]}/metrics",
            span_metrics=f"http://127.0.0.1:{ports[8889]}/metrics",
        )
    finally:
        process.terminate()
        process.wait(10)


class Backend(TraceServiceServicer):
    """What takes traces by gRPC, and remembers their spans' ids."""

    address = ""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def Export(self, request: Any, _: grpc.ServicerContext) -> ExportTraceServiceResponse:  # noqa: N802 - gRPC's name
        """Take a batch."""
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.ids |= {span.span_id.hex() for span in scope.spans}
        return ExportTraceServiceResponse()


@contextmanager
def receiving() -> Iterator[Backend]:
    """A trace backend as gRPC makes a server: with its own limits."""
    backend, server = Backend(), grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(backend, server)  # type: ignore[no-untyped-call]
    backend.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield backend
    server.stop(None)


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
    return total("otelcol_exporter_send_failed_spans_total", page)


def crowded_out(page: str) -> float:
    """Traces that were dropped before they were judged."""
    return total("otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total", page)


def total(name: str, page: str) -> float:
    """The sum of a metric."""
    return sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)$", page, re.MULTILINE)))


def spans(*ids: str, padding: str = "") -> dict[str, Any]:
    """Failed traces of one span each, over the objective, as OTLP's JSON has it."""
    attributes = [
        {"key": names.OVER_OBJECTIVE, "value": {"boolValue": True}},
        {"key": "padding", "value": {"stringValue": padding}},
    ]
    some = [
        {
            "traceId": f"5b8efff798038103{identity}",
            "spanId": identity,
            "name": "POST /predict",
            "kind": 2,
            "startTimeUnixNano": "1544712660000000000",
            "endTimeUnixNano": "1544712660350000000",
            "attributes": attributes,
            "status": {"code": 2},  # an error, so that it is kept
        }
        for identity in ids
    ]
    # Without a name of the service no span is counted.
    service = {"key": "service.name", "value": {"stringValue": "photos"}}
    scopes = [{"spans": some}]
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
