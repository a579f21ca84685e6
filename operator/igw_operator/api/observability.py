"""``spec.observability``, typed: metrics, logs, traces, and the collector between."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from igw_operator.api.fields import (
    ApiModel,
    DurationText,
    Guard,
    Labels,
    Quantity,
    duration_between,
    matches,
    zero_or_between,
)

Percent = Annotated[float, Field(ge=0, le=100)]


class CollectorMode(StrEnum):
    """Where traces go."""

    MANAGED = "Managed"
    OPENTELEMETRY_COLLECTOR = "OpenTelemetryCollector"
    EXTERNAL = "External"
    DISABLED = "Disabled"

    @property
    def is_ours(self) -> bool:
        """Whether the collector's pipeline is the operator's to write."""
        return self in {CollectorMode.MANAGED, CollectorMode.OPENTELEMETRY_COLLECTOR}


class Metrics(ApiModel):
    """Metrics and their scraping."""

    enabled: bool = True
    """Whether a ServiceMonitor and rules are made."""
    labels: Labels = Field(default={})
    """Labels of ServiceMonitor and PrometheusRule, over the operator's default ones, for a
    Prometheus that selects by label.
    """
    max_prediction_classes: Annotated[int, Field(ge=0, le=10_000)] = 1000
    """Most values of the prediction_class label; further classes count as _other."""


class LogSampling(ApiModel):
    """Of how many requests the lines of a level are written; errors always are."""

    debug: Percent = 100.0
    """Percentage of requests whose debug lines are written."""
    info: Percent = 100.0
    """Percentage of requests whose info lines are written."""
    warning: Percent = 100.0
    """Percentage of requests whose warning lines are written."""


class Logging(ApiModel):
    """The runtime's logs: JSON lines on stdout."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written. Changes live."""
    sampling_percent: LogSampling = LogSampling()
    """Of how many requests the lines of each level are written: of one request all, or none. Errors
    always are. Changes live.
    """
    max_bytes_per_second: Annotated[Quantity, zero_or_between("1Ki", "1Gi", "1Mi")] = "1Mi"
    """Most that a replica writes; what is over that is dropped and counted, errors never are. 0: no
    limit. Changes live.
    """


class Tracing(ApiModel):
    """Traces of requests."""

    enabled: bool = True
    """Whether spans are made at all."""
    sampling_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    """
    Percentage of unremarkable traces that are kept. A managed collector decides when a trace
    is complete and always keeps errors and slow requests; changing the percentage rolls the
    collector. With mode External the runtime decides when a trace begins, and the percentage
    changes live.
    """
    slow_threshold: Annotated[DurationText, duration_between("1ms", "10m", "500ms")] | None = None
    """A trace that takes longer is kept always. Absent: the latency threshold of the SLO."""
    endpoint: (
        Annotated[
            str,
            Field(max_length=1024),
            matches(
                "^(https?://)?[A-Za-z0-9._-]+(:[0-9]{1,5})?$",
                "must be host:port, or https://host:port for TLS; port 4317 where none is given",
            ),
        ]
        | None
    ) = None
    """
    OTLP/gRPC address that a managed collector sends traces to. Absent: it prints one line for
    each span that it keeps.
    """


class Collector(ApiModel):
    """The OpenTelemetry collector between runtime and trace backend."""

    guards: ClassVar = (
        Guard(
            rule="self.mode != 'External' || has(self.endpoint)",
            message="mode External needs endpoint: the OTLP/HTTP address of your collector",
            check=lambda it: it.mode is not CollectorMode.EXTERNAL or it.endpoint is not None,
        ),
        Guard(
            rule="self.mode == 'External' || !has(self.endpoint)",
            message="endpoint belongs to mode External; a managed collector sends to "
            "observability.tracing.endpoint",
            check=lambda it: it.mode is CollectorMode.EXTERNAL or it.endpoint is None,
        ),
    )

    mode: CollectorMode = CollectorMode.MANAGED
    """Managed: the operator runs one. OpenTelemetryCollector: the OpenTelemetry operator does, with
    the same pipeline. External: spans go to endpoint. Disabled: no spans.
    """
    endpoint: (
        Annotated[
            str,
            Field(max_length=1024),
            matches(
                "^https?://[^/ ]+[^ ]*$",
                "must be an http or https URL, such as http://otel-collector.monitoring:4318",
            ),
        ]
        | None
    ) = None
    """OTLP/HTTP address for mode External."""


class Observability(ApiModel):
    """Metrics, logs, traces."""

    metrics: Metrics = Metrics()
    """Metrics and their scraping."""
    logging: Logging = Logging()
    """The runtime's logs."""
    tracing: Tracing = Tracing()
    """Traces of requests."""
    collector: Collector = Collector()
    """The OpenTelemetry collector."""
