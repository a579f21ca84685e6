"""The whole line: a CR applied, a picture classified, seen everywhere, edited, deleted."""

from __future__ import annotations

import json
import time

import pytest

from harness.client import Client
from harness.gateway import Gateway
from harness.kubectl import Json, Kubectl
from harness.shell import ROOT, CommandError, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
PICTURES = ROOT / "tests" / "pictures"
Shared = tuple[Gateway, Client]


@pytest.mark.parametrize(
    ("picture", "names"),
    [("coffee.jpg", {"espresso"}), ("chelsea.jpg", {"tabby", "Egyptian cat", "tiger cat"})],
)
def test_a_photograph_is_classified_truly(
    ready_gateway: Shared, picture: str, names: set[str]
) -> None:
    """Real weights, a real photograph, the right answer, through DNS, Service and policy."""
    gateway, client = ready_gateway

    answer = client.post(f"{gateway.url}/predict", PICTURES / picture, request_id="asked-for")

    assert answer.status == 200, answer.body
    assert answer.json["prediction"] in names
    assert answer.request_id == "asked-for"


def test_grpc_is_served_and_counted(ready_gateway: Shared) -> None:
    """The same answer by gRPC, through Service and policy; it counts for the objectives."""
    gateway, client = ready_gateway
    address = f"{gateway.name}.{gateway.namespace}.svc:9000"

    outputs = client.infer(address, "efficientnet_lite0", PICTURES / "coffee.jpg")

    assert outputs["labels"][0] == "espresso"
    wait_for(
        "the call among the requests in Prometheus",
        lambda: gateway.kubectl.prometheus(
            'http_requests_total{endpoint="/inference.GRPCInferenceService/ModelInfer",'
            f'namespace="{gateway.namespace}",status="2xx"}} > 0'
        ),
        timeout_seconds=90,
        every_seconds=2,
    )


@pytest.mark.pain(15)
def test_one_request_is_in_log_trace_and_metrics(ready_gateway: Shared) -> None:
    """The three pillars tell of the same request with the same trace_id."""
    gateway, client = ready_gateway
    answer = client.post(f"{gateway.url}/predict", PICTURES / "coffee.jpg")

    events = wait_for(
        "three log events", lambda: log_events(gateway, answer.request_id, 3), timeout_seconds=20
    )
    (trace_id,) = {event["trace_id"] for event in events}

    assert {event["message"] for event in events} == {
        "request_received",
        "prediction_completed",
        "request_completed",
    }
    assert answer.json["trace_id"] == trace_id
    wait_for(
        "the trace in the collector",
        lambda: trace_id in collector_log(gateway),
        timeout_seconds=60,
        every_seconds=2,
    )
    spans = collector_log(gateway)
    for name in ("validate_input", "preprocess_image", "model_inference", "forward_pass"):
        assert name in spans
    wait_for(
        "the request in Prometheus",
        lambda: gateway.kubectl.prometheus(
            f'sum(http_requests_total{{namespace="{gateway.namespace}",gateway="photos",'
            'endpoint="/predict",status="2xx"}) > 0'
        ),
        timeout_seconds=90,
        every_seconds=2,
    )


@pytest.mark.pain(13)
def test_the_rules_are_loaded_and_record(ready_gateway: Shared) -> None:
    """Prometheus evaluates the gateway's rules and the SLI comes out of them."""
    gateway, client = ready_gateway
    query = f'igw:slo_errors_per_event:ratio_rate5m{{namespace="{gateway.namespace}"}}'

    def recorded() -> set[str]:
        # Between two scrapes: what a new pod served before the first one is in no rate.
        client.post(f"{gateway.url}/predict", PICTURES / "coffee.jpg")
        return {sample["metric"]["slo"] for sample in gateway.kubectl.prometheus(query)}

    wait_for(
        "both recorded SLIs",
        lambda: recorded() == {"availability", "latency"},
        timeout_seconds=180,
        every_seconds=5,
    )


def test_the_operator_has_the_proof_that_it_is_monitored(ready_gateway: Shared) -> None:
    """Through the Prometheus Operator's own configuration, service discovery and the network."""
    gateway, client = ready_gateway

    def told() -> dict[str, tuple[str, str]]:
        client.post(f"{gateway.url}/predict", PICTURES / "coffee.jpg")
        found = gateway.kubectl.get("igw", "photos", gateway.namespace) or {}
        return {it["type"]: (it["status"], it["reason"]) for it in found["status"]["conditions"]}

    for kind, verdict in {
        "MonitoringReady": ("True", "Monitored"),
        "SLOMet": ("True", "WithinBudget"),
    }.items():
        wait_for(
            f"{kind} to be {verdict}",
            lambda kind=kind, verdict=verdict: told()[kind] == verdict,  # type: ignore[misc]
            timeout_seconds=330,
            every_seconds=5,
        )
    status = (gateway.kubectl.get("igw", "photos", gateway.namespace) or {})["status"]
    assert {slo["name"] for slo in status["slo"] if "asOf" in slo} == {"availability", "latency"}
    header, row = gateway.kubectl("get", "igw", "-n", gateway.namespace).splitlines()
    assert header.split()[5] == "BUDGET"
    assert row.split()[5] == status["budget"] == "100.0%"


def test_the_columns_tell_the_truth(ready_gateway: Shared) -> None:
    """READY REASON MODEL REPLICAS BUDGET AGE."""
    gateway, _ = ready_gateway

    header, row = gateway.kubectl("get", "igw", "-n", gateway.namespace).splitlines()

    assert header.split() == ["NAME", "READY", "REASON", "MODEL", "REPLICAS", "BUDGET", "AGE"]
    assert row.split()[:5] == ["photos", "True", "Serving", "efficientnet_lite0", "1/1"]


def test_an_slo_edit_changes_rules_and_buckets_but_no_pod(ready_gateway: Shared) -> None:
    """The PrometheusRule follows within 5 s, the runtime's buckets live, nothing restarts."""
    gateway, client = ready_gateway
    client.post(f"{gateway.url}/predict", PICTURES / "coffee.jpg")
    pods = {pod["metadata"]["uid"] for pod in gateway.pods()}

    gateway.patch({"slo": {"latency": {"threshold": "170ms"}}})
    start = time.monotonic()
    wait_for(
        "the rule to ask for le=0.17",
        lambda: "0.17" in rules_text(gateway),
        timeout_seconds=5,
        every_seconds=0.2,
    )
    took = time.monotonic() - start
    client.post(f"{gateway.url}/predict", PICTURES / "coffee.jpg")
    wait_for(
        "a bucket le=0.17 in Prometheus",
        lambda: gateway.kubectl.prometheus(
            "http_request_duration_seconds_bucket"
            f'{{namespace="{gateway.namespace}",le="0.17",status="2xx"}}'
        ),
        timeout_seconds=90,
        every_seconds=2,
    )

    assert took < 5
    assert {pod["metadata"]["uid"] for pod in gateway.pods()} == pods
    assert gateway.restarts() == 0


def test_an_invalid_edit_is_refused_and_changes_nothing(ready_gateway: Shared) -> None:
    """The message names the field; the generation stays."""
    gateway, _ = ready_gateway
    before = gateway.kubectl.get("igw", "photos", gateway.namespace) or {}

    with pytest.raises(CommandError, match=r"spec\.slo\.availability\.objective"):
        gateway.patch({"slo": {"availability": {"objective": 100}}})

    after = gateway.kubectl.get("igw", "photos", gateway.namespace) or {}
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.pain(8)
def test_a_deleted_gateway_leaves_nothing(gateway: Gateway, kubectl: Kubectl) -> None:
    """Also with the operator down: the garbage collector needs no operator."""
    gateway.apply()
    gateway.wait_ready()
    scale_operator(kubectl, 0)
    try:
        kubectl("delete", "igw", "photos", "-n", gateway.namespace, "--timeout=30s")
        kinds = (
            "pods,deployment,replicaset,service,configmap,serviceaccount,hpa,pdb,"
            "networkpolicy,servicemonitor,prometheusrule"
        )
        wait_for(
            "every child to be gone",
            lambda: not kubectl(
                "get", kinds, "-n", gateway.namespace, "-o", "name",
                "-l", "inference.igw.dev/gateway=photos",
            ).split(),
            timeout_seconds=90,
        )  # fmt: skip
    finally:
        scale_operator(kubectl, 1)


def scale_operator(kubectl: Kubectl, replicas: int) -> None:
    """Scale the operator and wait for it."""
    kubectl("scale", "-n", "igw-system", "deployment/igw-operator", f"--replicas={replicas}")
    kubectl("rollout", "status", "-n", "igw-system", "deployment/igw-operator", "--timeout=60s")


def log_events(gateway: Gateway, request_id: str, count: int) -> list[Json] | None:
    """The JSON log lines of a request, once there are as many as wanted."""
    text = gateway.kubectl(
        "logs", "-n", gateway.namespace, "-l", gateway.selector("runtime"), "--tail=200"
    )
    events = [json.loads(line) for line in text.splitlines() if request_id in line]
    return events if len(events) >= count else None


def collector_log(gateway: Gateway) -> str:
    """What the collector printed."""
    return gateway.kubectl(
        "logs", "-n", gateway.namespace, "-l", gateway.selector("collector"), "--tail=5000"
    )


def rules_text(gateway: Gateway) -> str:
    """The PrometheusRule as text."""
    return gateway.kubectl("get", "prometheusrule", "-n", gateway.namespace, "-o", "yaml")
