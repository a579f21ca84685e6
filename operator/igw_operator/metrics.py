"""Every metric that the operator exports about itself, declared once.

One `Metrics` is made in ``__main__`` and handed to whoever counts. The model servers'
metrics are the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from igw_operator import conventions

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The operator's own metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "igw_operator_reconciles",
            "Reconciles by result: done, waiting, failed, refused, crashed.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "igw_operator_reconcile_duration_seconds",
            "Duration of one reconcile.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.api_writes = Counter(
            "igw_operator_api_writes",
            "Writes to the API server that succeeded.",
            ["verb", "kind", "reason"],
            registry=self.registry,
        )
        self.api_errors = Counter(
            "igw_operator_api_errors",
            "Requests to the API server that failed, by HTTP status (0: no answer).",
            ["method", "status"],
            registry=self.registry,
        )
        self.resync_discrepancies = Counter(
            "igw_operator_resync_discrepancies",
            "Objects that a LIST found new, changed or gone, and no watch had told so.",
            ["kind", "what"],
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "igw_operator_events_dropped",
            "Kubernetes Events that the rate limit kept back.",
            registry=self.registry,
        )
        self.desired_replicas = Gauge(
            conventions.METRIC_DESIRED_REPLICAS,
            "Replicas that a gateway should have: its own number, or its autoscaler's.",
            ["namespace", "gateway"],
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Export a number that is read at every scrape."""
        Gauge(f"igw_operator_{name}", text, registry=self.registry).set_function(read)

    def counted_write(self, verb: str, kind: str, reason: str) -> None:
        """Count one write that the API server accepted."""
        self.api_writes.labels(verb, kind, reason).inc()

    def set_desired_replicas(self, namespace: str, gateway: str, replicas: int | None) -> None:
        """Say how many replicas a gateway should have; None: the gateway is gone."""
        if replicas is not None:
            self.desired_replicas.labels(namespace, gateway).set(replicas)
        else:
            self.desired_replicas.remove(namespace, gateway)
