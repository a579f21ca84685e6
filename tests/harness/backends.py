"""Jaeger, Loki and a log agent, and what they are asked; Prometheus' exemplars with them.

Not shipped: a platform team has its own. All are asked through the API server's proxy.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from harness.kubectl import Json, Kubectl
from harness.provider import Provider
from harness.shell import CommandError, wait_for

NAMESPACE: Final = "backends"
TRACES: Final = "jaeger.backends.svc:4317"
_FOLDER: Final = "tests/harness/follow-backends"
_WAIT: Final = "--timeout=180s"
_MONITORING: Final = "monitoring"

Tree = dict[str, Any]
"""Names of spans, each with those that it has within."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span as Jaeger has it."""

    name: str
    parent: str
    """Id of the span that it is within; empty: it is a root."""
    start: int
    """Microseconds since 1970."""
    duration: int
    """Microseconds."""
    tags: Json
    process: Json
    """What is said of the process that made it."""

    @property
    def end(self) -> int:
        """Microseconds since 1970."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as Jaeger has it: its spans by their ids."""

    spans: dict[str, Span]

    @property
    def root(self) -> Span:
        """The span without a parent; exactly one has none."""
        (root,) = (span for span in self.spans.values() if not span.parent)
        return root

    @property
    def tree(self) -> Tree:
        """The names of all spans, nested; those of one parent have different names."""
        within: dict[str, list[str]] = defaultdict(list)
        for identity, span in self.spans.items():
            within[span.parent].append(identity)

        def grow(parent: str) -> Tree:
            return {self.spans[it].name: grow(it) for it in within[parent]}

        return grow("")


@dataclass(frozen=True, slots=True)
class Backends:
    """The three of one cluster."""

    kubectl: Kubectl

    def install(self, provider: Provider) -> None:
        """Bring their images where they are missing, and wait until they answer."""
        provider.prepare("follow")
        self.kubectl("apply", "-k", _FOLDER)
        for namespace, workload in (
            (NAMESPACE, "deployment/jaeger"),
            (NAMESPACE, "deployment/loki"),
            ("log-agent", "daemonset/log-agent"),
        ):
            status = ("rollout", "status", workload, "-n", namespace, _WAIT)
            self.kubectl(*status, timeout_seconds=200)

    def remove(self) -> None:
        """All of it; in a namespace that is still going nothing could be made anew."""
        self.kubectl("delete", "-k", _FOLDER, "--ignore-not-found")

    def stop_jaeger(self) -> None:
        """Until nothing listens for traces any more."""
        self.kubectl("scale", "deployment/jaeger", "-n", NAMESPACE, "--replicas=0")
        selector = "app.kubernetes.io/name=jaeger"
        wait_for(
            "Jaeger to be gone",
            lambda: not self.kubectl.items("pods", NAMESPACE, selector),
            timeout_seconds=60,
        )

    def start_jaeger(self) -> None:
        """Until it answers; what it held is gone."""
        jaeger = ("deployment/jaeger", "-n", NAMESPACE)
        self.kubectl("scale", *jaeger, "--replicas=1")
        self.kubectl("rollout", "status", *jaeger, _WAIT, timeout_seconds=200)

    def trace(self, trace_id: str) -> Trace | None:
        """A trace by its id; None: Jaeger does not have it, or does not answer yet."""
        try:
            found = self._ask(NAMESPACE, "jaeger", f"/api/traces/{quote(trace_id)}")
        except CommandError as error:
            if "NotFound" in str(error) or "ServiceUnavailable" in str(error):
                return None
            raise
        return _parse_trace(found["data"][0]) if found["data"] else None

    def wait_trace(self, trace_id: str, *, spans: int = 1, seconds: float = 90) -> Trace:
        """A trace by its id, once it has so many spans."""

        def complete() -> Trace | None:
            trace = self.trace(trace_id)
            return trace if trace is not None and len(trace.spans) >= spans else None

        return wait_for(f"trace {trace_id}", complete, timeout_seconds=seconds, every_seconds=2)

    def find_traces(self, service: str, **tags: str) -> list[str]:
        """Ids of the traces of a service that have a span with all these tags."""
        query = urlencode({"service": service, "tags": json.dumps(tags), "limit": 100})
        found = self._ask(NAMESPACE, "jaeger", f"/api/traces?{query}")
        return [str(it["traceID"]) for it in found["data"]]

    def logs(self, query: str) -> list[tuple[Json, str]]:
        """What LogQL finds within the last hour: each line with its labels, the oldest first."""
        asked = urlencode({"query": query, "limit": 1000, "direction": "forward"})
        found = self._ask(NAMESPACE, "loki", f"/loki/api/v1/query_range?{asked}")
        lines = [
            (int(at), stream["stream"], line)
            for stream in found["data"]["result"]
            for at, line, *_ in stream["values"]
        ]
        return [(labels, line) for _, labels, line in sorted(lines, key=lambda it: it[0])]

    def exemplars(self, query: str, *, since: float, until: float) -> list[Json]:
        """The exemplars of a metric within a time, in seconds since 1970."""
        asked = urlencode({"query": query, "start": since, "end": until})
        found = self._ask(_MONITORING, "prometheus", f"/api/v1/query_exemplars?{asked}")
        return [exemplar for series in found["data"] for exemplar in series["exemplars"]]

    def _ask(self, namespace: str, service: str, path: str) -> Any:
        proxy = f"/api/v1/namespaces/{namespace}/services/{service}:web/proxy"
        return json.loads(self.kubectl("get", "--raw", f"{proxy}{path}"))


def _parse_trace(data: Json) -> Trace:
    processes = {name: _parse_process(it) for name, it in data["processes"].items()}
    return Trace(
        {
            it["spanID"]: Span(
                name=it["operationName"],
                parent=next(
                    (r["spanID"] for r in it["references"] if r["refType"] == "CHILD_OF"), ""
                ),
                start=it["startTime"],
                duration=it["duration"],
                tags=_parse_tags(it["tags"]),
                process=processes[it["processID"]],
            )
            for it in data["spans"]
        }
    )


def _parse_process(data: Json) -> Json:
    return {"service.name": data["serviceName"], **_parse_tags(data.get("tags") or [])}


def _parse_tags(tags: list[Json]) -> Json:
    return {tag["key"]: tag["value"] for tag in tags}
