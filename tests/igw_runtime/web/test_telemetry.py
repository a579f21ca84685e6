import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.trace import SpanKind, StatusCode

from igw_runtime.telemetry.logs import configure_logs
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import RED, picture

PNG = picture(RED)
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a serving path."""
    with a_bench() as built:
        yield built


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return captured log output."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the logged events."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_span_tree_is_exact(bench: Bench) -> None:
    """One prediction is one tree, named as the design says."""
    await bench.client.post("/predict", PNG)

    assert bench.span_tree() == [
        (
            "POST /predict",
            [
                ("validate_input", []),
                ("preprocess_image", []),
                ("model_inference", [("load_model", []), ("forward_pass", [])]),
                ("format_response", []),
            ],
        )
    ]


async def test_root_span_follows_the_http_conventions(bench: Bench) -> None:
    """Stable semantic conventions, so that any backend understands it."""
    await bench.client.post("/predict", PNG, **{"x-request-id": "r-1", "host": "photos:80"})

    root = next(s for s in bench.spans.get_finished_spans() if s.kind is SpanKind.SERVER)
    attributes = dict(root.attributes or {})
    assert {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/predict",
        "server.address": "photos",
        "server.port": 8080,
        "client.address": "10.0.0.9",
        "network.protocol.version": "1.1",
        "inference.request_id": "r-1",
        "inference.prediction": "red",
    }.items() <= attributes.items()
    assert root.status.status_code is StatusCode.UNSET


async def test_callers_trace_is_continued(bench: Bench) -> None:
    """The answer, the spans and the caller share one trace id."""
    answer = await bench.client.post("/predict", PNG, traceparent=SAMPLED)

    assert answer.json()["trace_id"] == TRACE
    root = next(s for s in bench.spans.get_finished_spans() if s.kind is SpanKind.SERVER)
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT


async def test_unsampled_requests_record_no_span_but_keep_their_ids(bench: Bench) -> None:
    """The inbound flag is honoured; the trace id still links logs."""
    answer = await bench.client.post("/predict", PNG, traceparent=UNSAMPLED)

    assert answer.json()["trace_id"] == TRACE
    assert bench.spans.get_finished_spans() == ()


async def test_spans_that_nobody_keeps_are_not_made(bench: Bench) -> None:
    """A worker does not even ask for them: they would cost nearly what kept ones do."""
    bench.lanes[0].classifier._tracer = None  # type: ignore[assignment]

    assert (await bench.client.post("/predict", PNG, traceparent=UNSAMPLED)).status == 200
    assert (await bench.client.post("/predict", PNG, traceparent=SAMPLED)).status == 500


async def test_client_error_marks_its_stage_not_the_server(bench: Bench) -> None:
    """4xx leaves the server span unset, the stage that refused is marked."""
    await bench.client.post("/predict", b"no image")

    spans = {span.name: span for span in bench.spans.get_finished_spans()}
    assert spans["POST /predict"].status.status_code is StatusCode.UNSET
    assert spans["validate_input"].status.status_code is StatusCode.ERROR
    assert (spans["POST /predict"].attributes or {})["error.type"] == "unsupported-format"


async def test_probes_are_not_traced_and_not_logged(bench: Bench, log: io.StringIO) -> None:
    """Every second of every pod would otherwise be a trace."""
    probes = ["/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"]
    model = [
        "/v2/models/{model}/ready",
        "/v2/models/{model}/versions/{version}/ready",
        "/v1/models/{model}",
    ]
    for path in probes + model:
        asked = path.format(model="colours", version="1")
        assert (await bench.client.get(asked)).status == 200
        labels = {"method": "GET", "endpoint": path, "status": "2xx"}
        assert bench.sample("http_requests_total", **labels) == 1

    assert bench.spans.get_finished_spans() == ()
    assert lines(log) == []


async def test_what_only_looks_like_a_probe_is_logged(bench: Bench, log: io.StringIO) -> None:
    """Metadata and inference are requests, whatever they are called."""
    paths = ["/v2/models/ready", "/v2/models/colours", "/v1/models/colours:predict", "/v1/models"]
    for path in paths:
        await bench.client.get(path)

    assert [line["path"] for line in lines(log) if "path" in line] == paths


async def test_ipv6_clients_are_named_in_full(bench: Bench) -> None:
    """Neither the host's colons nor the mapping of IPv4 addresses reach a trace."""
    await bench.client.get("/v2", host="[fd00::1]:8080")

    [span] = bench.spans.get_finished_spans()
    assert span.attributes
    assert span.attributes["server.address"] == "fd00::1"


async def test_three_events_tell_a_request(bench: Bench, log: io.StringIO) -> None:
    """received, prediction, completed: one request id, one trace id, the seed's fields."""
    answer = await bench.client.post("/predict", PNG, **{"x-request-id": "r-2"})

    received, predicted, completed = lines(log)
    assert [
        received["message"],
        predicted["message"],
        completed["message"],
    ] == ["request_received", "prediction_completed", "request_completed"]
    for line in (received, predicted, completed):
        assert (line["request_id"], line["trace_id"]) == ("r-2", answer.json()["trace_id"])
        assert len(line["span_id"]) == 16
        assert line["level"] == "INFO"
    assert (predicted["prediction"], predicted["model"]) == ("red", "colours")
    assert predicted["confidence"] > 0.99
    assert predicted["duration_ms"] >= 0
    assert (completed["status"], completed["endpoint"], completed["method"]) == (
        200,
        "/predict",
        "POST",
    )


async def test_refusal_is_in_the_completed_event(bench: Bench, log: io.StringIO) -> None:
    """A refused request says why in the same line as its status."""
    await bench.client.post("/predict", b"")

    assert lines(log)[-1]["error"] == "no-body"
    assert lines(log)[-1]["status"] == 400


async def test_bug_is_logged_with_its_traceback(
    bench: Bench, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says nothing of it, so the log has to say all."""
    monkeypatch.setattr("igw_runtime.web.predict.check_content_type", lambda *_: 1 // 0)
    answer = await bench.client.post("/predict", PNG)

    [event] = [line for line in lines(log) if line["message"] == "request_failed"]
    assert answer.status == 500
    assert "ZeroDivisionError" not in answer.body.decode()
    assert "Traceback" in event["exception"]
    assert event["exception"].endswith("ZeroDivisionError: integer division or modulo by zero")


async def test_invented_method_names_neither_label_nor_span(bench: Bench) -> None:
    """What a client may choose freely is never a name."""
    await bench.client.call("BREW", "/predict")

    assert bench.span_tree() == [("HTTP /predict", [])]
    labels = {"method": "_other", "endpoint": "/predict", "status": "4xx"}
    assert bench.sample("http_requests_total", **labels) == 1


@pytest.mark.pain(14)
async def test_seed_metrics_count_a_prediction(bench: Bench) -> None:
    """One request moves every metric once."""
    await bench.client.post("/predict", PNG)

    labels = {"method": "POST", "endpoint": "/predict", "status": "2xx"}
    model = {"model": "colours"}
    assert bench.sample("http_requests_total", **labels) == 1
    assert bench.sample("http_request_duration_seconds_count", **labels) == 1
    assert bench.sample("model_predictions_total", prediction_class="red", **model) == 1
    assert bench.sample("model_inference_duration_seconds_count", **model) == 1
    assert bench.sample("model_prediction_confidence_count", **model) == 1
    assert bench.sample("inference_queue_size") == 0
    for stage in ("queue", "validate", "preprocess", "infer", "format"):
        assert bench.count_stage(stage) == 1
    assert bench.count_stage("read", model="", version="") == 1


@pytest.mark.parametrize(
    ("slow_seconds", "traceparent", "linked"),
    [
        pytest.param(0.0, SAMPLED, True, id="slow and sampled"),
        pytest.param(9.0, SAMPLED, False, id="fast"),
        pytest.param(0.0, UNSAMPLED, False, id="slow but not sampled"),
    ],
)
async def test_exemplars_only_where_a_trace_will_be_kept(
    slow_seconds: float, traceparent: str, *, linked: bool
) -> None:
    """A link from a graph to a trace that was dropped is worse than none."""
    with a_bench(slow_seconds=slow_seconds) as bench:
        await bench.client.post("/predict", PNG, traceparent=traceparent)
        scrape = await bench.client.get(
            "/metrics", accept="application/openmetrics-text; version=1.0.0"
        )

    assert scrape.headers["content-type"].startswith("application/openmetrics-text")
    assert linked is (f'# {{trace_id="{TRACE}"}}' in scrape.body.decode())


async def test_plain_scrape_is_prometheus_text(bench: Bench) -> None:
    """Without negotiation the classic format is served."""
    answer = await bench.client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert b"# TYPE http_requests_total counter" in answer.body


@pytest.mark.parametrize(
    ("objective", "path", "body", "said"),
    [
        pytest.param(0.0, "/predict", PNG, True, id="over it"),
        pytest.param(9.0, "/predict", PNG, False, id="within it"),
        pytest.param(0.0, "/predict", b"no image", None, id="a client's error does not count"),
        pytest.param(None, "/predict", PNG, None, id="there is none"),
    ],
)
async def test_spans_say_whether_they_are_over_the_objective(
    objective: float | None, path: str, body: bytes, *, said: bool | None
) -> None:
    """As the latency objective counts: answered predictions only."""
    with a_bench(objective_seconds=objective) as bench:
        await bench.client.post(path, body)
        roots = [span for span in bench.spans.get_finished_spans() if span.parent is None]

    (root,) = roots
    assert (root.attributes or {}).get("inference.over_objective") is said
