"""Every metric that the operator exports about itself, declared once.

One `Metrics` is made in ``running`` and handed to whoever counts; ``docs/metrics.md`` is
generated from it. No label's values grow with the number of gateways, but those of
``gateway_desired_replicas`` and ``gateway_ready``. The model servers' metrics are the runtime's.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from igw_operator import conventions

_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Written(StrEnum):
    """Why something was written."""

    CREATE = "create"  # a child was not there
    SPEC = "spec"  # something else is desired of a child than at the last apply
    DRIFT = "drift"  # somebody changed a child
    OWNERSHIP = "ownership"  # others' share of a field had to become ours before an apply
    PRUNE = "prune"  # a child is no longer wanted
    STATUS = "status"  # there is something new to report
    TRANSITION = "transition"  # a Kubernetes Event about a condition


class Metrics:
    """The operator's own metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.active = self._gauge(
            "active",
            "1 while this process holds the lease and watches, 0 while it starts or stands by.",
        )
        self.reconciles = self._counter(
            "reconciles", "Reconciles by result: done, waiting, failed, refused, crashed.", "result"
        )
        self.reconcile_seconds = Histogram(
            f"{conventions.METRIC_PREFIX}reconcile_duration_seconds",
            "Duration of one reconcile.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queue_depth = self._gauge("queue_depth", "Keys that wait for a worker.")
        self.queue_oldest = self._gauge("queue_oldest_seconds", "How long the oldest key waits.")
        self.queue_busy = self._gauge("queue_busy", "Keys that are worked on.")
        self.queue_slow = self._gauge("queue_slow", "Keys whose last reconcile was slow.")
        self.api_writes = self._counter(
            "api_writes",
            f"Writes that the API server accepted, by reason: {', '.join(Written)}. "
            "Renewals of the lease are not counted.",
            *("verb", "kind", "reason"),
        )
        self.api_errors = self._counter(
            "api_errors",
            "Requests to the API server that failed, by HTTP status (0: no answer).",
            *("method", "status"),
        )
        self.held_children = self._gauge(
            "held_children", "Children that wait to be written after a refusal."
        )
        self.contested_children = self._gauge(
            "contested_children", "Children whose fields somebody else sets, too, again and again."
        )
        self.foreign_fields = self._gauge(
            "foreign_fields",
            "Fields of children that another field manager sets and the operator does not; "
            "they are left as they are. After 20 managers, others.",
            *("kind", "manager"),
        )
        self.resync_discrepancies = self._counter(
            "resync_discrepancies",
            "Objects that a LIST found appeared, changed or vanished, and no watch had told so.",
            *("kind", "what"),
        )
        self.resync_age = self._gauge("resync_age_seconds", "Age of the oldest LIST.")
        self.cached_objects = self._gauge("cached_objects", "Objects in the cache.")
        self.loop_lag = self._gauge("loop_lag_seconds", "Recent lag of the event loop.")
        self.prometheus_errors = self._counter(
            "prometheus_errors",
            "Rounds in which a Prometheus that knows about the gateways could not be read; the "
            "condition MonitoringReady says why.",
        )
        self.events_dropped = self._counter(
            "events_dropped", "Kubernetes Events that the rate limit kept back."
        )
        self.desired_replicas = Gauge(
            conventions.METRIC_DESIRED_REPLICAS,
            "Replicas that a gateway should have: its own number, or its autoscaler's.",
            ["namespace", "gateway"],
            registry=self.registry,
        )
        self.gateway_ready = self._gauge(
            "gateway_ready",
            "1 while the gateway's condition Ready is True, else 0.",
            *("namespace", "gateway"),
        )
        self.rollout_held = self._gauge(
            "rollout_held",
            "1 while the rollout of a runtime is held: a gateway fails with it, it is paused, or "
            "only a new version of the operator asks for it.",
            "runtime",
        )
        self.rollout_waiting = self._gauge(
            "rollout_waiting_gateways",
            "Gateways that do not run the latest revision of their runtime yet.",
            "runtime",
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{conventions.METRIC_PREFIX}{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{conventions.METRIC_PREFIX}{name}", text, labels, registry=self.registry)

    def counted_write(self, verb: str, kind: str, reason: Written) -> None:
        """Count one write that the API server accepted."""
        self.api_writes.labels(verb, kind, reason.value).inc()

    def set_desired_replicas(self, namespace: str, gateway: str, replicas: int | None) -> None:
        """Say how many replicas a gateway should have; None: the gateway is gone."""
        _set(self.desired_replicas, (namespace, gateway), replicas)

    def set_ready(self, namespace: str, gateway: str, *, is_ready: bool | None) -> None:
        """Say whether a gateway is Ready; None: the gateway is gone."""
        _set(self.gateway_ready, (namespace, gateway), is_ready)

    def set_foreign_fields(self, kind: str, manager: str, count: int) -> None:
        """Say how many fields of children of a kind a field manager sets."""
        _set(self.foreign_fields, (kind, manager), count or None)

    def set_rollout(self, runtime: str, *, is_held: bool | None, waiting: int | None) -> None:
        """Say how the rollout of a runtime fares; None: the runtime is gone, or nobody knows."""
        _set(self.rollout_held, (runtime,), is_held)
        _set(self.rollout_waiting, (runtime,), waiting)


def _set(gauge: Gauge, labels: Sequence[str], value: float | None) -> None:
    if value is not None:
        gauge.labels(*labels).set(value)
    else:
        gauge.remove(*labels)
