"""The managed collector's own configuration, as a document.

Component names are those of 0.155 (``otlp_grpc``, not ``otlp``). Spans are counted before any is
sampled away (``span_metrics``). They are no basis of an objective, for which the runtime measures
by itself, but they tell the stages of a request apart. Two parts that such pipelines often have
are left out, each for a reason:

- ``k8s_attributes`` needs the right to read pods in the cluster, which nothing in a user's
  namespace should have. The runtime knows its pod, node and namespace and says so itself.
- a ``latency`` policy with the SLO's threshold, or a bucket at it: that would put the threshold
  into this configuration, and an SLO edit would restart the collector. The runtime has the
  threshold among its live settings, marks a slow request's span with ``inference.slow``, and says
  of each that the objective counts whether it is over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, Final

import yaml

from igw_operator import conventions
from igw_operator.api.fields import parse_duration
from igw_operator.api.objects import Gateway

SLOW_ATTRIBUTE: Final = "inference.slow"
OVER_OBJECTIVE_ATTRIBUTE: Final = "inference.over_objective"
# Those of the runtime's http_request_duration_seconds, so that the two can be compared.
BUCKETS_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    *(0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
)

# Spans of one trace arrive within the runtime's export interval (5 s) and its batch's age.
_EXPORT_SECONDS: Final = 6
# A trace is about 7 spans of 1 KiB: 20 000 of them stay below half the memory limit.
_TRACES_IN_MEMORY: Final = 20_000
# Ten times the traces in memory, so that a late span follows what was decided.
_DECISIONS_IN_MEMORY: Final = 200_000
# About 50 MiB of kept spans wait while the backend is away, each batch for five minutes.
_SPANS_IN_QUEUE: Final = 50_000
_RETRY_SECONDS: Final = 300
# gRPC servers take messages of 4 MiB unless told otherwise. All that is kept within a second comes
# at once; a span has less than 2 KiB.
_SPANS_IN_BATCH: Final = 2048
# One pod has about ten kinds of spans; more means that a name went wild.
_SPAN_SERIES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """All of a gateway that its collector's configuration depends on."""

    longest_request_seconds: int
    sampling_percent: float
    endpoint: str | None


def render_collector_config(gateway: Gateway) -> str:
    """The configuration as YAML text."""
    return _render(read_settings(gateway))


# YAML is slow to write, and most gateways of a fleet want the same text.
@lru_cache(maxsize=256)
def _render(settings: CollectorSettings) -> str:
    return yaml.safe_dump(build_collector_config(settings), sort_keys=False)


def read_settings(gateway: Gateway) -> CollectorSettings:
    """What the configuration depends on."""
    tracing = gateway.spec.observability.tracing
    return CollectorSettings(
        longest_request_seconds=ceil(parse_duration(gateway.spec.serving.timeout)),
        sampling_percent=tracing.sampling_percent,
        endpoint=tracing.endpoint,
    )


def build_collector_config(settings: CollectorSettings) -> dict[str, Any]:
    """Receive, limit memory, count; then judge whole traces, batch, send."""
    exporters = _build_exporters(settings.endpoint)
    return {
        "extensions": {"health_check": {"endpoint": _listen(conventions.PORT_COLLECTOR_HEALTH)}},
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": _listen(conventions.PORT_OTLP_GRPC)},
                    "http": {"endpoint": _listen(conventions.PORT_OTLP_HTTP)},
                }
            }
        },
        "processors": {
            "memory_limiter": {
                "check_interval": "1s",
                "limit_percentage": 80,
                "spike_limit_percentage": 20,
            },
            "tail_sampling": _build_sampling(settings),
            "batch": {
                "send_batch_size": _SPANS_IN_BATCH,
                "send_batch_max_size": _SPANS_IN_BATCH,
            },
        },
        "connectors": {"forward": {}, "span_metrics": _build_span_metrics()},
        "exporters": {
            **exporters,
            "prometheus": {"endpoint": _listen(conventions.PORT_SPAN_METRICS)},
        },
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"readers": [_build_own_metrics()]}},
            "pipelines": {
                "traces": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter"],
                    "exporters": ["span_metrics", "forward"],
                },
                "traces/kept": {
                    "receivers": ["forward"],
                    "processors": ["tail_sampling", "batch"],
                    "exporters": list(exporters),
                },
                "metrics": {"receivers": ["span_metrics"], "exporters": ["prometheus"]},
            },
        },
    }


def _build_sampling(settings: CollectorSettings) -> dict[str, Any]:
    return {
        # A caller's trace has its root elsewhere: wait for as long as a request may take.
        "decision_wait": f"{settings.longest_request_seconds + _EXPORT_SECONDS}s",
        "decision_wait_after_root_received": f"{_EXPORT_SECONDS}s",
        "num_traces": _TRACES_IN_MEMORY,
        "decision_cache": {
            "sampled_cache_size": _DECISIONS_IN_MEMORY,
            "non_sampled_cache_size": _DECISIONS_IN_MEMORY,
        },
        # A trace is kept when any of these says so.
        "policies": [
            {
                "name": "errors",
                "type": "status_code",
                "status_code": {"status_codes": ["ERROR"]},
            },
            {
                "name": "slow",
                "type": "boolean_attribute",
                "boolean_attribute": {"key": SLOW_ATTRIBUTE, "value": True},
            },
            {
                "name": "share",
                "type": "probabilistic",
                "probabilistic": {"sampling_percentage": settings.sampling_percent},
            },
        ],
    }


def _build_span_metrics() -> dict[str, Any]:
    return {
        "histogram": {
            "unit": "s",
            "explicit": {"buckets": [f"{round(bound * 1000)}ms" for bound in BUCKETS_SECONDS]},
        },
        "dimensions": [{"name": OVER_OBJECTIVE_ATTRIBUTE}],
        "metrics_flush_interval": f"{conventions.SCRAPE_INTERVAL_SECONDS}s",
        # What a pod that is gone had counted goes, too.
        "metrics_expiration": "5m",
        "aggregation_cardinality_limit": _SPAN_SERIES,
    }


def _build_exporters(endpoint: str | None) -> dict[str, Any]:
    if endpoint is None:
        # Nowhere to send them: print each kept span in one line with its trace id, so that a
        # request can still be followed from its log line. (`detailed` is a screenful a span,
        # `basic` only counts.) It costs a log line a span, of sampled traces only.
        return {"debug": {"verbosity": "normal"}}
    # host:port is plain text within the cluster; https://host:port is TLS with the system's CAs.
    insecure = not endpoint.startswith("https://")
    return {
        "otlp_grpc": {
            "endpoint": endpoint,
            "tls": {"insecure": insecure},
            # Both said outright, as what is lost follows from them. A full queue drops and counts:
            # to block would hold up what judges traces, and in the end the runtime.
            "sending_queue": {
                "enabled": True,
                "sizer": "items",
                "queue_size": _SPANS_IN_QUEUE,
                "block_on_overflow": False,
            },
            "retry_on_failure": {
                "enabled": True,
                "initial_interval": "1s",
                "max_interval": "15s",
                "max_elapsed_time": f"{_RETRY_SECONDS}s",
            },
        }
    }


def _build_own_metrics() -> dict[str, Any]:
    address = {"host": "0.0.0.0", "port": conventions.PORT_COLLECTOR_METRICS}  # noqa: S104 - a pod's own address is not known here
    return {"pull": {"exporter": {"prometheus": address}}}


def _listen(port: int) -> str:
    return f"0.0.0.0:{port}"
