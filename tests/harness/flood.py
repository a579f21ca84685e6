"""Far more spans than a gateway makes, sent to a collector by OTLP from a pod of the namespace.

Each trace has the shape of a request's. The pod has the runtime's image, so OpenTelemetry's
messages are there; this file's `SOURCE` is run in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from harness.client import NAME as CLIENT
from harness.gateway import Gateway
from harness.kubectl import Kubectl

SPANS: Final = 7
"""As many as a request has."""
_PORT: Final = 4318
# A trace is written once, and then copied with another id in it: to write each would take longer
# than the collector takes to read it.
SOURCE: Final = """
import http.client, json, os, sys, time
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
plan = json.loads(sys.argv[1])
MARK = b"\\xa5" * 16
message = ExportTraceServiceRequest()
resource = message.resource_spans.add()
service = resource.resource.attributes.add(key="service.name")
service.value.string_value = "flood"
scope = resource.scope_spans.add()
for number in range(plan["spans"]):
    span = scope.spans.add(trace_id=MARK, span_id=bytes([number + 1] * 8), name=f"span {number}")
    root = b"" if plan["rooted"] else bytes([99] * 8)
    span.parent_span_id = bytes([1] * 8) if number else root
    span.start_time_unix_nano = time.time_ns()
    span.end_time_unix_nano = time.time_ns() + 1_000_000
    span.status.code = 2 if plan["failed"] else 0
    padding = span.attributes.add(key="padding")
    padding.value.string_value = "x" * plan["span_bytes"]
trace = message.SerializeToString()
connection = http.client.HTTPConnection(plan["host"], plan["port"], timeout=10)
headers = {"Content-Type": "application/x-protobuf"}
count = {"accepted": 0, "refused": 0}
began = time.monotonic()
sent = 0
while sent < plan["traces"]:
    due = began + sent / plan["per_second"]
    if time.monotonic() - began > plan["most_seconds"]:
        break
    time.sleep(max(0, due - time.monotonic()))
    some = min(plan["batch"], plan["traces"] - sent)
    body = b"".join(trace.replace(MARK, os.urandom(16)) for _ in range(some))
    try:
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        answer.read()
        taken = answer.status == 200
    except OSError as error:
        print(error, file=sys.stderr)
        connection.close()
        taken = False
    sent += some
    count["accepted" if taken else "refused"] += some * plan["spans"]
print(json.dumps(count | {"seconds": time.monotonic() - began}))
"""


@dataclass(frozen=True, kw_only=True)
class Flood:
    """What is sent: traces of a number of spans, each of a size, within a time."""

    traces: int
    per_second: float
    """Traces a second, at most."""
    most_seconds: float = 120.0
    spans: int = SPANS
    span_bytes: int = 400
    """Of what each span carries besides its ids and times."""
    failed: bool = False
    """Whether its spans say that they failed, so that each trace is kept."""
    rooted: bool = True
    """Whether a trace has its root: else it is waited for as long as a request may take."""
    batch: int = 100
    """Traces in one message."""


@dataclass(frozen=True, kw_only=True)
class Flooded:
    """What became of it, in spans."""

    accepted: int
    refused: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Spans a second that were sent."""
        return (self.accepted + self.refused) / self.seconds


def open_collector(gateway: Gateway) -> None:
    """Let every pod of the namespace send to the collector: else only the runtime's may."""
    labels = {
        "inference.igw.dev/gateway": gateway.name,
        "app.kubernetes.io/component": "collector",
    }
    gateway.kubectl.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "flood", "namespace": gateway.namespace},
            "spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [{"podSelector": {}}],
                        "ports": [{"protocol": "TCP", "port": _PORT}],
                    }
                ],
            },
        }
    )


def send_flood(kubectl: Kubectl, gateway: Gateway, flood: Flood) -> Flooded:
    """Send it from the client's pod; returns when it is over."""
    host = f"{gateway.name}-collector.{gateway.namespace}.svc"
    plan = json.dumps(asdict(flood) | {"host": host, "port": _PORT})
    printed = kubectl(
        *("exec", "-n", gateway.namespace, CLIENT, "--", "python3", "-c", SOURCE, plan),
        timeout_seconds=flood.most_seconds + 60,
    )
    return Flooded(**json.loads(printed.splitlines()[-1]))
