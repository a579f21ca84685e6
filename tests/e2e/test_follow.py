"""One request, followed: its log line in Loki, its spans in Jaeger, its exemplar in Prometheus.

And what becomes of requests, and of what is known about them, when a part of that is broken: no
trace backend, a collector that does not start, many times the spans. Jaeger, Loki and the log
agent are real, and not ours: `harness/follow-backends`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from bench.load import percentile
from harness.backends import TRACES, Backends, Trace, Tree
from harness.client import Client
from harness.commands import FENCE, fill, list_commands, type_command
from harness.flood import SPANS, Flood, Flooded, open_collector, send_flood
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.kubectl import Json, Kubectl
from harness.provider import choose
from harness.shell import ROOT, say, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.follow, pytest.mark.timeout(900)]

NAMESPACE: Final = "e2e-follow"
RUNTIME: Final = "e2e-follow"
BROKEN: Final = "e2e-follow-broken"
PICTURE: Final = ROOT / "tests" / "pictures" / "coffee.jpg"
PAGE: Final = ROOT / "docs" / "follow-a-request.md"
OPERATOR_IMAGE: Final = "igw.dev/operator:0.1.0"
NO_IMAGE: Final = "igw.dev/no-such-collector:9.9.9"
# Every prediction is slow, so all of them are kept; of what is neither slow nor failed, nothing is.
TRACING: Final = {"endpoint": TRACES, "samplingPercent": 0, "slowThreshold": "1ms"}
TREE: Final[Tree] = {
    "POST /predict": {
        "validate_input": {},
        "preprocess_image": {},
        "model_inference": {"load_model": {}, "forward_pass": {}},
        "format_response": {},
    }
}
OUTAGE_SECONDS: Final = 120
# gRPC tries a server that is away ever more seldom, in the end every two minutes.
RECONNECT_SECONDS: Final = 180
# What the runtime's exporter waits for a collector at most: no request waits with it.
EXPORT_TIMEOUT_SECONDS: Final = 2
PER_SECOND: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prediction, and what leads to its trace."""

    request_id: str
    trace_id: str
    prediction: str


@dataclass(frozen=True)
class Followed:
    """A gateway whose traces and logs arrive somewhere, and somebody who asks it."""

    gateway: Gateway
    client: Client
    backends: Backends

    @property
    def url(self) -> str:
        """Where predictions are."""
        return f"{self.gateway.url}/predict"

    def ask(self) -> Asked:
        """One prediction under a request id that was never there before."""
        request_id = f"followed-{uuid.uuid4().hex}"
        answer = self.client.post(self.url, PICTURE, request_id=request_id)
        assert (answer.status, answer.request_id) == (200, request_id), answer.body
        return Asked(
            request_id=request_id,
            trace_id=answer.json["trace_id"],
            prediction=answer.json["prediction"],
        )

    def wait_trace(self, asked: Asked) -> Trace:
        """Its whole trace."""
        return self.backends.wait_trace(asked.trace_id, spans=SPANS)

    def wait_new_trace(self, *, seconds: float) -> Trace:
        """The trace of a prediction of now; others are tried until one has a trace."""

        def arrived() -> Trace | None:
            try:
                return self.backends.wait_trace(self.ask().trace_id, spans=SPANS, seconds=20)
            except TimeoutError:
                return None

        return wait_for("a new trace", arrived, timeout_seconds=seconds, every_seconds=0)

    def collectors(self) -> dict[str, int]:
        """The collector's pods that run: their uids, and how often a container was restarted."""
        return {
            pod["metadata"]["uid"]: sum(
                it["restartCount"] for it in pod["status"]["containerStatuses"]
            )
            for pod in self.gateway.pods("collector")
            if pod["status"]["phase"] == "Running"
        }

    def wait_told(self, reason: str, *words: str) -> str:
        """The message of TelemetryReady once it is False for a reason, with these words in it."""

        def told() -> str | None:
            condition = self.gateway.condition("TelemetryReady")
            found = (condition.get("status"), condition.get("reason")) == ("False", reason)
            message = str(condition.get("message"))
            return message if found and all(it in message for it in words) else None

        try:
            return wait_for(f"{reason} {words}", told, timeout_seconds=180, every_seconds=2)
        except TimeoutError as error:
            message = f"{error}; TelemetryReady is {self.gateway.condition('TelemetryReady')}"
            raise TimeoutError(message) from error


@pytest.fixture(scope="module")
def followed(kubectl: Kubectl) -> Iterator[Followed]:
    """A Ready gateway, and a collector that runs."""
    backends = Backends(kubectl)
    followed = Followed(Gateway(kubectl, NAMESPACE), Client(kubectl, NAMESPACE), backends)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    try:
        backends.install(choose())
        kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": NAMESPACE, "labels": restricted},
            },
            a_runtime(RUNTIME),
        )
        apply(followed.gateway, RUNTIME)
        followed.client.start(RUNTIME_IMAGE)
        followed.gateway.wait_ready()
        collector = ("deployment/photos-collector", "-n", NAMESPACE)
        kubectl("rollout", "status", *collector, "--timeout=90s", timeout_seconds=120)
        open_collector(followed.gateway)
        yield followed
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
        kubectl("delete", "igwr", RUNTIME, BROKEN, "--ignore-not-found")
        backends.remove()


def a_runtime(name: str, **spec: Any) -> Json:
    """An InferenceRuntime that is not the default."""
    return {
        "apiVersion": "inference.igw.dev/v1alpha1",
        "kind": "InferenceRuntime",
        "metadata": {"name": name},
        "spec": {"image": RUNTIME_IMAGE} | spec,
    }


def apply(gateway: Gateway, runtime: str) -> None:
    """With traces that arrive somewhere."""
    gateway.apply(runtimeRef={"name": runtime}, observability={"tracing": TRACING})


def test_one_request_is_found_in_loki_jaeger_and_prometheus(
    followed: Followed, tmp_path: Path
) -> None:
    """From its id to its log lines, from their trace id to its spans and to its exemplar."""
    began = time.time()
    asked = followed.ask()
    assert asked.prediction == "espresso"

    events = find_events(followed, asked)
    (trace_id,) = {event["trace_id"] for event in events.values()}
    trace = followed.wait_trace(asked)
    exemplar = find_exemplar(followed, trace_id, began)

    assert trace_id == asked.trace_id
    assert trace.tree == TREE
    assert {trace.spans[event["span_id"]] == trace.root for event in events.values()} == {True}
    check_spans(followed, trace, asked)
    seconds = events["request_completed"]["duration_ms"] / 1000
    assert float(exemplar["value"]) == pytest.approx(seconds, abs=1e-6)
    assert followed.backends.find_traces(
        "photos", **{"inference.request_id": asked.request_id}
    ) == [trace_id]
    assert began < float(exemplar["timestamp"]) < time.time() + 1
    check_page(followed, asked, tmp_path)


def find_events(followed: Followed, asked: Asked) -> dict[str, Json]:
    """The three events of the request, by LogQL alone; all in the log of the pod that served it."""
    query = (
        f'{{k8s_namespace_name="{NAMESPACE}", k8s_container_name="runtime"}}'
        f' | json | request_id="{asked.request_id}"'
    )
    lines = wait_for(
        "three lines in Loki",
        lambda: found if len(found := followed.backends.logs(query)) >= 3 else None,
        timeout_seconds=60,
        every_seconds=2,
    )
    (pod,) = followed.gateway.pods()
    assert {labels["k8s_pod_name"] for labels, _ in lines} == {pod["metadata"]["name"]}
    events = [json.loads(line) for _, line in lines]
    assert [it["message"] for it in events] == [
        "request_received",
        "prediction_completed",
        "request_completed",
    ]
    by_name = {str(it["message"]): it for it in events}
    assert by_name["prediction_completed"]["prediction"] == asked.prediction
    completed = by_name["request_completed"]
    assert (completed["endpoint"], completed["status"]) == ("/predict", 200)
    return by_name


def check_spans(followed: Followed, trace: Trace, asked: Asked) -> None:
    """What they say of the request, and that each lies within the one that it belongs to."""
    (pod,) = followed.gateway.pods()
    expected: Json = {
        "span.kind": "server",
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "inference.request_id": asked.request_id,
        "inference.prediction": asked.prediction,
        "inference.slow": True,
    }
    assert expected.items() <= trace.root.tags.items()
    for span in trace.spans.values():
        assert span.process["service.name"] == followed.gateway.name
        assert span.process["service.namespace"] == NAMESPACE
        assert span.process["k8s.pod.name"] == pod["metadata"]["name"]
        if span.parent:
            parent = trace.spans[span.parent]
            # Half a microsecond is lost at either end.
            assert parent.start - 1 <= span.start <= span.end <= parent.end + 1, span.name
    (inference,) = (it for it in trace.spans.values() if it.name == "model_inference")
    assert inference.tags["inference.model.name"] == "efficientnet_lite0"


def find_exemplar(followed: Followed, trace_id: str, since: float) -> Json:
    """The request's, among those of the latency histogram."""
    query = (
        f'http_request_duration_seconds_bucket{{namespace="{NAMESPACE}",gateway="photos",'
        'endpoint="/predict"}'
    )

    def found() -> Json | None:
        every = followed.backends.exemplars(query, since=since - 60, until=time.time() + 60)
        return next((it for it in every if it["labels"] == {"trace_id": trace_id}), None)

    return wait_for("the exemplar", found, timeout_seconds=90, every_seconds=2)


def check_page(followed: Followed, asked: Asked, folder: Path) -> None:
    """What docs/follow-a-request.md tells people to type finds this request, too."""
    words = {"REQUEST_ID": asked.request_id, "TRACE_ID": asked.trace_id}
    commands = list_commands([PAGE])
    assert len(commands) >= 4
    for command in commands:
        done = type_command(
            *(followed.gateway.kubectl, folder, command.fill(words)), NS=NAMESPACE, GW="photos"
        )
        assert done.returncode == 0, f"{command.text}: {done.stderr}"
        found = asked.trace_id in done.stdout
        assert found or "get igw" in command.text, f"{command.text}: {done.stdout}"
    asks = dict(FENCE.findall(PAGE.read_text()))
    words |= {"NAMESPACE": NAMESPACE, "GATEWAY": "photos"}
    assert len(followed.backends.logs(fill(asks["logql"], words))) == 3
    every = followed.backends.exemplars(
        fill(asks["promql"], words), since=time.time() - 600, until=time.time()
    )
    assert {"trace_id": asked.trace_id} in [it["labels"] for it in every]


def test_a_collector_that_does_not_start_takes_nothing_with_it(followed: Followed) -> None:
    """Requests are answered, and the collector before goes on."""
    gateway, kubectl = followed.gateway, followed.gateway.kubectl
    before = followed.collectors()
    assert len(before) == 1
    try:
        set_collector_image(kubectl, RUNTIME, OPERATOR_IMAGE)
        message = followed.wait_told("CollectorConfigRejected", "the collector of before goes on")
        assert "Container check-config of pod photos-collector-" in message
        assert before.items() <= followed.collectors().items()
        followed.wait_trace(followed.ask())

        set_collector_image(kubectl, RUNTIME, NO_IMAGE)
        message = followed.wait_told("ImagePullFailed", NO_IMAGE, "the collector of before goes on")
        assert "Pod photos-collector-" in message
        assert gateway.condition("Ready")["status"] == "True"
        assert before.items() <= followed.collectors().items()
        followed.wait_trace(followed.ask())
    finally:
        set_collector_image(kubectl, RUNTIME, None)
    # At once; but Prometheus remembers for five minutes what another run on this cluster lost.
    wait_for(
        "TelemetryReady",
        lambda: gateway.condition("TelemetryReady")["status"] == "True",
        timeout_seconds=400,
        every_seconds=2,
    )
    assert followed.collectors() == before
    assert gateway.restarts() == 0


def test_a_gateway_serves_that_never_had_a_collector(followed: Followed) -> None:
    """Its collector's image does not exist; once it has one that does, its traces arrive."""
    kubectl = followed.gateway.kubectl
    fresh = Followed(Gateway(kubectl, NAMESPACE, "fresh"), followed.client, followed.backends)
    kubectl.apply(a_runtime(BROKEN, collectorImage=NO_IMAGE))
    apply(fresh.gateway, BROKEN)

    fresh.gateway.wait_ready()
    message = fresh.wait_told("ImagePullFailed", NO_IMAGE)
    lost = [fresh.ask() for _ in range(3)]

    assert "Pod fresh-collector-" in message
    assert "goes on" not in message
    assert [it.prediction for it in lost] == ["espresso"] * 3
    assert fresh.gateway.condition("Ready")["status"] == "True"
    set_collector_image(kubectl, BROKEN, None)
    assert fresh.wait_new_trace(seconds=120).tree == TREE
    kubectl("delete", "igw", "fresh", "-n", NAMESPACE)


def set_collector_image(kubectl: Kubectl, runtime: str, image: str | None) -> None:
    """Name the collector's image in a runtime; None: the operator's own."""
    patch = json.dumps({"spec": {"collectorImage": image}})
    kubectl("patch", "igwr", runtime, "--type=merge", "-p", patch)


def test_two_minutes_without_a_backend(
    followed: Followed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests do not notice; what waits is delivered; what finds no room is told; no restart."""
    before, backends = followed.collectors(), followed.backends
    with followed.client.load(
        followed.url, PICTURE, per_second=PER_SECOND, most_seconds=500
    ) as load:
        began = time.monotonic()
        time.sleep(20)
        backends.stop_jaeger()
        stopped = time.monotonic()
        early = [followed.ask() for _ in range(3)]
        time.sleep(45)  # they are complete, judged, and wait in the queue
        crowded = time.monotonic()
        # More spans than the queue has room for, of failed requests: all of them are kept.
        flooded = send_flood(
            followed.gateway.kubectl,
            followed.gateway,
            Flood(traces=12_000, per_second=1000, span_bytes=100, failed=True),
        )
        message = followed.wait_told("SpansLost", "found no room in the collector's queue")
        time.sleep(max(0.0, stopped + OUTAGE_SECONDS - time.monotonic()))
        backends.start_jaeger()
        back = time.monotonic()
        assert followed.wait_new_trace(seconds=RECONNECT_SECONDS).tree == TREE
        recovered = time.monotonic() - back
        for asked in early:
            assert followed.wait_trace(asked).tree == TREE
        report = load.stop()

    assert report.failed == [], report.faults
    calm, out = (
        percentile([it.seconds for it in report.samples if since <= it.intended < until], 95)
        for since, until in (
            (0, stopped - began),
            (stopped - began, crowded - began),
        )
    )
    assert out < calm + EXPORT_TIMEOUT_SECONDS
    assert flooded.refused == 0
    assert followed.collectors() == before
    assert followed.gateway.restarts() == 0
    assert followed.gateway.condition("Ready")["status"] == "True"
    with capsys.disabled():
        say(
            f"\nBackend away for {back - stopped:.0f} s: {len(report.samples)} requests, none "
            f"failed; 95 % within {calm * 1000:.0f} ms before and {out * 1000:.0f} ms meanwhile; "
            f"traces arrived again {recovered:.0f} s after it was back. {message}"
        )


def test_many_times_the_spans(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten times as many, and none is missing; far too many, and the collector refuses and stays.

    Requests do not notice either, and what is lost is told.
    """
    before = followed.collectors()
    usual = PER_SECOND * SPANS
    with followed.client.load(
        followed.url, PICTURE, per_second=PER_SECOND, most_seconds=400
    ) as load:
        tenfold, amid = flood_amid_requests(followed, Flood(traces=10_000, per_second=500))
        for asked in amid:
            assert followed.wait_trace(asked).tree == TREE
        # Fat, and without a root: each trace is held for as long as a request may take.
        beyond, amid = flood_amid_requests(
            followed,
            Flood(
                traces=40_000,
                per_second=1000,
                most_seconds=60,
                span_bytes=4000,
                rooted=False,
                batch=20,
            ),
        )
        message = followed.wait_told("SpansLost", "being at its memory limit")
        assert followed.wait_trace(followed.ask()).tree == TREE
        report = load.stop()
    found = [it for it in amid if followed.backends.trace(it.trace_id)]

    assert tenfold.per_second > 10 * usual
    assert tenfold.refused == 0
    assert beyond.refused > 0
    assert report.failed == [], report.faults
    assert followed.collectors() == before, describe(followed.gateway)
    assert followed.gateway.restarts() == 0
    with capsys.disabled():
        say(
            f"\nFlood: usual are {usual:.0f} spans a second; of {tenfold.per_second:.0f} none was "
            f"lost; of {beyond.per_second:.0f}, four kilobytes each, {beyond.refused} of "
            f"{beyond.accepted + beyond.refused} were refused; {len(found)} of {len(amid)} slow "
            f"requests have a trace. {len(report.samples)} requests, none failed. {message}"
        )


def flood_amid_requests(followed: Followed, flood: Flood) -> tuple[Flooded, list[Asked]]:
    """Ask now and then while the collector is flooded."""
    asked = []
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(send_flood, followed.gateway.kubectl, followed.gateway, flood)
        while not flooding.done():
            asked.append(followed.ask())
            time.sleep(5)
        return flooding.result(), asked


def describe(gateway: Gateway) -> list[Any]:
    """How the collector's containers are, and how they ended."""
    return [
        it for pod in gateway.pods("collector") for it in pod["status"].get("containerStatuses", [])
    ]
