"""Real processes: what only sockets, signals and files can show."""

import hashlib
import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from igw_runtime.serving.listening import choose_host
from runtime_kit.colours import BLUE, RED, picture, write_package
from runtime_kit.process import ServerProcess, a_server, fetch, free_port, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
PNG = picture(RED)
MODEL: dict[str, Any] = {"model": {"name": "colours"}}
LENGTH = {"Inference-Header-Content-Length": "0"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the models folder once."""
    root = tmp_path_factory.mktemp("models")
    write_package(root / "colours")
    return root


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A shared server for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    settings = MODEL | {"serving": {"drainSeconds": 0, "maxBodyBytes": 100_000}}
    with a_server(folder, models, settings) as running:
        yield running


def test_predicts_with_the_real_engine(server: ServerProcess) -> None:
    """Socket to OpenVINO and back."""
    status, body = server.predict(picture(BLUE))

    assert (status, json.loads(body)["prediction"]) == (200, "blue")


def test_metrics_are_on_their_own_port(server: ServerProcess) -> None:
    """The scrape does not share the serving socket, and is the same on both."""
    server.predict(PNG)

    assert 'http_requests_total{endpoint="/predict",method="POST",status="2xx"}' in server.metrics()
    assert b"process_resident_memory_bytes" in server.get("/metrics")[1]
    assert b"process_start_time_seconds" in server.get("/metrics")[1]  # the SLO rules read it
    assert re.search(r'model_memory_usage_bytes\{model="colours"\} \d', server.metrics())


def test_large_upload_gets_its_answer_not_a_reset(server: ServerProcess) -> None:
    """A client that sends far too much reads 413 although it is still sending."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/predict", b"x" * 10_000_000, {"Content-Type": "image/png"})
    response = connection.getresponse()

    assert (response.status, response.headers["Connection"]) == (413, "close")
    connection.close()


def test_client_that_never_stops_sending_is_cut_off(models: Path, tmp_path: Path) -> None:
    """What was refused may be sent to its end, but not for ever; both are seen in the metrics."""
    with a_server(tmp_path, models, MODEL | {"serving": {"bodyTimeoutSeconds": 0.5}}) as server:
        rude = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        rude.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
        answer = rude.recv(65536)
        before = server.metrics()
        wait_until(lambda: is_cut_off(rude), 10)
        rude.close()
        after = server.metrics()

    assert answer.startswith(b"HTTP/1.1 415")
    assert "igw_runtime_connections 1.0" in before
    assert "igw_runtime_connections 0.0" in after
    assert 'igw_runtime_cut_connections_total{reason="rest"} 1.0' in after


def is_cut_off(connection: socket.socket) -> bool:
    """Send one more byte; tell whether the other side has gone."""
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False


def test_connection_is_kept_alive(server: ServerProcess) -> None:
    """Refusals do not cost a pooled client its connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    statuses = []
    for body in (PNG, b"junk", PNG):
        connection.request("POST", "/predict", body, {"Content-Type": "image/png"})
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        assert response.headers["Connection"] is None
    connection.close()

    assert statuses == [200, 415, 200]


def test_kept_connection_does_not_wait_for_acknowledgements(server: ServerProcess) -> None:
    """Small answers leave at once: Nagle's algorithm would add 40 ms to each."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    seconds = []
    for _ in range(30):
        started = time.monotonic()
        connection.request("POST", "/predict", PNG, {"Content-Type": "image/png"})
        connection.getresponse().read()
        seconds.append(time.monotonic() - started)
    connection.close()

    assert sorted(seconds)[len(seconds) // 2] < 0.03


class Traffic(threading.Thread):
    """A client that sends one request after the other, reconnecting when it is asked to."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.done = threading.Event()
        self.answers: list[tuple[int, str | None]] = []
        self.failures: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.done.is_set():
            try:
                connection.request("POST", "/predict", PNG, {"Content-Type": "image/png"})
                response = connection.getresponse()
                response.read()
                self.answers.append((response.status, response.headers["Connection"]))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
        connection.close()


def test_drain_loses_nothing(models: Path, tmp_path: Path) -> None:
    """After SIGTERM: not ready, still serving old and new connections, in-flight work finished."""
    with a_server(tmp_path, models, MODEL | {"serving": {"drainSeconds": 1.5}}) as server:
        clients = [Traffic(server.port) for _ in range(3)]
        for client in clients:
            client.start()
        slow = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PNG)}\r\n\r\n"
        slow.sendall(head.encode() + PNG[:10])
        wait_until(lambda: all(len(client.answers) > 5 for client in clients))

        server.process.terminate()
        wait_until(lambda: server.get("/ready")[0] == 503)
        assert server.get("/health")[0] == 200
        time.sleep(0.8)
        for client in clients:
            client.done.set()
            client.join()
        wait_until(lambda: server.get("/health")[0] == 0)
        slow.sendall(PNG[10:])
        answer = slow.recv(65536)
        slow.close()

        assert server.process.wait(10) == 0
        assert answer.startswith(b"HTTP/1.1 200")
        for client in clients:
            assert client.failures == []
            assert {status for status, _ in client.answers} == {200}
            assert client.answers[-1][1] == "close"
        assert [len(server.events(name)) for name in ("server_draining", "server_stopped")] == [
            1,
            1,
        ]


def test_listener_that_accepts_also_serves(models: Path, tmp_path: Path) -> None:
    """From SIGTERM to the last accepted connection nobody is told to come back later."""
    with a_server(tmp_path, models, MODEL | {"serving": {"drainSeconds": 0.5}}) as server:
        early = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        early.connect()
        server.process.terminate()
        statuses: list[int] = []
        while not statuses or statuses[-1]:
            statuses.append(server.predict(PNG)[0])
        early.request("POST", "/predict", PNG, {"Content-Type": "image/png"})

        assert set(statuses[:-1]) == {200}
        assert len(statuses) > 10
        assert early.getresponse().status == 200
        early.close()


def test_largest_picture_costs_memory_for_two(models: Path, tmp_path: Path) -> None:
    """A small file of many transparent pixels does not take a small pod down."""
    side = 6000
    content = picture((255, 0, 0, 255), size=(side, side), mode="RGBA")
    with a_server(tmp_path, models, MODEL | {"serving": {"workers": 1}}) as server:
        status = Path(f"/proc/{server.process.pid}/status")
        before = peak_bytes(status)
        code, body = server.predict(content)

        assert (code, json.loads(body)["prediction"]) == (200, "red")
        assert peak_bytes(status) - before < 3 * 4 * side * side


def peak_bytes(status: Path) -> int:
    """Return the most resident memory that a process ever had."""
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_sigterm_while_the_model_loads(models: Path, tmp_path: Path) -> None:
    """A pod that is deleted before it was ever ready goes at once, and cleanly."""
    package = tmp_path / "stuck"
    package.mkdir()
    os.mkfifo(package / "model.json")  # nobody writes: reading it never ends
    settings = {"model": {"name": "stuck", "uri": f"file://{package}"}}
    with a_server(tmp_path, models, settings, ready=False) as server:
        wait_until(lambda: server.get("/health")[0] == 200)
        assert json.loads(server.get("/ready")[1]) == {"ready": False, "state": "starting"}
        assert server.predict(PNG)[0] == 503
        started = time.monotonic()

        assert server.stop() == 0
        assert time.monotonic() - started < 5


def test_live_settings_change_without_restart(models: Path, tmp_path: Path) -> None:
    """Within seconds: new bucket, new level, new digest, and no count lost."""
    with a_server(tmp_path, models, MODEL | {"serving": {"drainSeconds": 0}}) as server:
        server.predict(PNG)
        before = server.metrics()
        content = json.loads(server.config.read_text())
        live = {"logging": {"level": "debug"}, "metrics": {"latencyBucketsSeconds": [0.42]}}

        server.config.write_text(json.dumps(content | {"live": {"logging": {"level": "loud"}}}))
        wait_until(lambda: server.events("settings_rejected"), 5)
        server.config.write_text(json.dumps(content | {"live": live}))
        wait_until(lambda: server.events("settings_applied"), 5)
        after = server.metrics()

        canonical = json.dumps(live, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(canonical).hexdigest()[:16]
        assert f'igw_runtime_live_settings_info{{hash="{digest}"}} 1.0' in after
        assert "live.logging.level" in server.events("settings_rejected")[0]["error"]
        labels = 'endpoint="/predict",le="0.42",method="POST",status="2xx"'
        assert labels not in before
        assert f"http_request_duration_seconds_bucket{{{labels}}} 1.0" in after
        server.get("/health")
        wait_until(lambda: any(e["level"] == "DEBUG" for e in server.events("request_completed")))


def test_batch_size_is_measured_at_start(models: Path, tmp_path: Path) -> None:
    """With `auto` the metrics say what was found, and the server serves with it."""
    with a_server(tmp_path, models, MODEL | {"serving": {"maxBatch": "auto"}}) as server:
        assert json.loads(server.predict(PNG)[1])["prediction"] == "red"
        [event] = server.events("batch_size_chosen")
        scrape = server.metrics()

    own = 'model="colours",version="1"'
    assert f"igw_runtime_max_batch{{{own}}} {float(event['max_batch'])}" in scrape
    for size in event["milliseconds_per_image"]:
        labels = f'model="colours",size="{size}",version="1"'
        assert f"igw_runtime_batch_sweep_seconds_per_image{{{labels}}}" in scrape


def test_several_models_share_one_process(models: Path, tmp_path: Path) -> None:
    """Loaded one after the other, served by the same workers, each under its name and version."""
    uri = f"file://{models}/colours"
    more = [{"name": "colours", "version": "2", "uri": uri}, {"name": "copy", "uri": uri}]
    settings = MODEL | {"schemaVersion": 2, "additionalModels": more}
    with a_server(tmp_path, models, settings | {"serving": {"workers": 2}}) as server:
        answers = [
            json.loads(fetch(server.url(f"/v2/models/{path}"))[1])
            for path in ("colours/versions/1", "colours/versions/2", "copy")
        ]
        statuses = [
            fetch(server.url(f"/v2/models/{path}/infer"), PNG, LENGTH)[0]
            for path in ("colours", "colours/versions/2", "copy")
        ]
        index = json.loads(fetch(server.url("/v2/repository/index"), b"{}")[1])
        scrape = server.metrics()
        loaded = server.events("model_loaded")
        assert server.stop() == 0

    told = [("colours", "1"), ("colours", "2"), ("copy", "1")]
    assert [(it["name"], *it["versions"]) for it in answers] == told
    assert statuses == [200, 200, 200]
    assert [(it["name"], it["version"]) for it in index] == told
    assert [(it["model"], it["version"]) for it in loaded] == told
    assert "igw_runtime_workers 2.0" in scrape


def test_a_model_that_is_not_there_is_named_by_its_place(models: Path, tmp_path: Path) -> None:
    """Readiness needs all of them, and the last words say which one it was."""
    settings = MODEL | {"schemaVersion": 2, "additionalModels": [{"name": "absent"}]}
    with a_server(tmp_path, models, settings) as server:
        assert server.process.wait(20) == 66
        words = server.termination_log.read_text()

    assert words.startswith("ModelNotFound: additionalModels.0 (absent): no model 'absent' in")


def test_every_listener_takes_both_families(models: Path, tmp_path: Path) -> None:
    """Nothing is configured, and the pod serves in clusters of IPv4, of IPv6, and of both."""
    hosts = ["127.0.0.1", "::1"] if choose_host("") == "::" else ["127.0.0.1"]
    with a_server(tmp_path, models, MODEL, grpc=True, host="") as server:
        for host in hosts:
            connection = http.client.HTTPConnection(host, server.port, timeout=10)
            connection.request("POST", "/predict", PNG, {"Content-Type": "image/png"})
            assert connection.getresponse().status == 200
            connection.close()
            scrape = http.client.HTTPConnection(host, server.metrics_port, timeout=10)
            scrape.request("GET", "/metrics")
            assert b"http_requests_total" in scrape.getresponse().read()
            scrape.close()
            socket.create_connection((host, server.grpc_port), timeout=10).close()


def test_unread_log_stalls_no_request(models: Path, tmp_path: Path) -> None:
    """A node's log reader that hangs costs log lines; the server answers, and ends in time."""
    pipe = tmp_path / "log-pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with a_server(tmp_path, models, MODEL | {"serving": {"drainSeconds": 0}}, log=pipe) as server:
        for _ in range(200):  # a pipe holds 64 KiB; this is more than twice that
            assert server.predict(PNG)[0] == 200
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 8
    os.close(reader)


@pytest.mark.parametrize(
    ("settings", "code", "reason"),
    [
        pytest.param(
            MODEL | {"serving": {"maxQueue": 0}}, 78, "InvalidSettings: serving.maxQueue", id="key"
        ),
        pytest.param({"model": {"name": "absent"}}, 66, "ModelNotFound: no model", id="model"),
        pytest.param(
            {"model": {"name": "colours", "sha256": "0" * 64}},
            65,
            "ModelDigestMismatch: ",
            id="digest",
        ),
        pytest.param(
            {"model": {"name": "colours", "engine": "torch"}}, 70, "ModelLoadFailed: ", id="engine"
        ),
        pytest.param({"model": {"name": "wrong"}}, 70, "GoldenCheckFailed: ", id="golden"),
    ],
)
def test_start_failures_have_a_code_and_one_line(
    models: Path, tmp_path: Path, settings: dict[str, Any], code: int, reason: str
) -> None:
    """The operator can show why a pod does not start."""
    if not (models / "wrong").exists():
        golden = {"indices": [0], "logits": [99.0], "tolerance": {"fp32": 0.01}}
        write_package(models / "wrong", golden=golden)
    with a_server(tmp_path, models, settings, ready=False) as server:
        assert server.process.wait(20) == code
        message = server.termination_log.read_text()
        [event] = server.events("startup_failed")

    assert message.startswith(reason)
    assert message.count("\n") == 1
    assert f"{event['reason']}: {event['error']}\n" == message


def test_serves_with_the_settings_of_a_newer_operator(models: Path, tmp_path: Path) -> None:
    """What it does not know is named in its log."""
    settings = MODEL | {"serving": {"streaming": True}}
    with a_server(tmp_path, models, settings) as server:
        [warning] = server.events("settings_unknown")

    assert warning["keys"][0].startswith("serving.streaming: unknown key; allowed here: ")


def test_taken_port_is_explained(models: Path, tmp_path: Path) -> None:
    """A clash names the setting to change."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        settings = MODEL | {"server": {"port": port, "metricsPort": free_port()}}
        with a_server(tmp_path, models, settings, ready=False) as server:
            assert server.process.wait(20) == 78
            assert "server.port: cannot listen" in server.termination_log.read_text()


class Collector(HTTPServer):
    """Takes OTLP over HTTP and keeps what it gets."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip  # noqa: PLC0415

                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        super().__init__(("127.0.0.1", 0), Handler)


def traced(port: int) -> dict[str, Any]:
    """Return settings that trace everything to a port."""
    return MODEL | {
        "gateway": {"namespace": "demo", "name": "photos"},
        "telemetry": {"otlpEndpoint": f"http://127.0.0.1:{port}"},
        "serving": {"drainSeconds": 0},
        "live": {"tracing": {"samplingPercent": 100.0}},
    }


def test_spans_are_flushed_to_the_collector(models: Path, tmp_path: Path) -> None:
    """The last request before the end is in the trace store, under the gateway's name."""
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        with a_server(tmp_path, models, traced(collector.server_port)) as server:
            _, body = server.predict(PNG)
            assert server.stop() == 0
        collector.shutdown()

    [resource] = [r for request in collector.requests for r in request.resource_spans]
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    spans = [span for scope in resource.scope_spans for span in scope.spans]
    assert (names["service.name"], names["service.namespace"]) == ("photos", "demo")
    assert {span.trace_id.hex() for span in spans} == {json.loads(body)["trace_id"]}
    assert "forward_pass" in {span.name for span in spans}


class SlowCollector(Collector):
    """Takes everything, and a second and a half for each batch."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        time.sleep(1.5)
        super().finish_request(request, client_address)


@contextmanager
def a_bad_collector(kind: str) -> Iterator[int]:
    """Yield the port of a collector that is not there, hangs, or is slow."""
    port = free_port()
    if kind == "refused":
        yield port
    elif kind == "hanging":
        with socket.create_server(("127.0.0.1", port)):
            yield port
    else:
        with SlowCollector() as collector:
            threading.Thread(target=collector.serve_forever, daemon=True).start()
            yield collector.server_port
            collector.shutdown()


@pytest.mark.parametrize("kind", ["refused", "hanging", "slow"])
def test_bad_collector_costs_nothing(models: Path, tmp_path: Path, kind: str) -> None:
    """Under load requests are as fast as ever, what is lost is counted, the end is in time."""
    with a_bad_collector(kind) as port, a_server(tmp_path, models, traced(port)) as server:
        clients = [Traffic(server.port) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: sum(len(client.answers) for client in clients) > 700, 40)
        for client in clients:
            client.done.set()
            client.join()
        durations = [e["duration_ms"] for e in server.events("request_completed")]
        wait_until(lambda: lost_spans(server) > 0)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 6
        [*_, last] = server.events("spans_lost")

    assert [client.failures for client in clients] == [[]] * 4
    assert {status for client in clients for status, _ in client.answers} == {200}
    assert max(durations) < 1000
    assert last["level"] == "WARNING"


def lost_spans(server: ServerProcess) -> float:
    """Return how many spans the process says that it lost."""
    counts = re.findall(r"igw_runtime_spans_lost_total\{.*\} (\S+)", server.metrics())
    assert len(counts) == 3
    return sum(map(float, counts))
