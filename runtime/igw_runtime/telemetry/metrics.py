"""Every metric the runtime exports, declared once; those of models are in `model_metrics`.

The seed names (`http_*`, `model_*`, `inference_queue_size`) are an API: the operator's SLO rules
and the scaler read them. Ours are prefixed `igw_runtime_`. All label values are bounded: routes
are templates, methods and classes come from closed sets, prediction classes stop at a limit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from igw_runtime.errors import REJECTION_SLUGS
from igw_runtime.serving.cpu import CpuBudget, read_throttling
from igw_runtime.settings import MetricsSettings
from igw_runtime.telemetry.histogram import LiveHistogram
from igw_runtime.telemetry.log_budget import LEVELS, DropReason
from igw_runtime.telemetry.model_metrics import STATUSES, ModelMetrics
from igw_runtime.telemetry.span_losses import LossReason

METHODS: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"})
PREDICT_ENDPOINT: Final = "/predict"
INFER_ENDPOINT: Final = "/v2/models/{model}/infer"
VERSIONED_INFER_ENDPOINT: Final = "/v2/models/{model}/versions/{version}/infer"
V1_PREDICT_ENDPOINT: Final = "/v1/models/{model}:predict"
GRPC_SERVICE: Final = "inference.GRPCInferenceService"
GRPC_INFER_ENDPOINT: Final = f"/{GRPC_SERVICE}/ModelInfer"
HTTP_INFERENCE_ENDPOINTS: Final = (
    PREDICT_ENDPOINT,
    INFER_ENDPOINT,
    VERSIONED_INFER_ENDPOINT,
    V1_PREDICT_ENDPOINT,
)
INFERENCE_ENDPOINTS: Final = (*HTTP_INFERENCE_ENDPOINTS, GRPC_INFER_ENDPOINT)
LIFECYCLE_STATES: Final = ("starting", "ready", "draining", "stopping")
CUT_REASONS: Final = ("waiting", "head", "busy", "rest", "closing", "crowded")

REQUEST_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    *(0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
)


class Metrics:
    """The declared metrics on one registry; one instance a process."""

    def __init__(
        self, settings: MetricsSettings, registry: CollectorRegistry | None = None
    ) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        self.models = ModelMetrics(self.registry, settings.max_prediction_classes)
        self._declare_seed()
        self._declare_own()
        self.apply(settings)
        self._prepare_children()

    def _declare_seed(self) -> None:
        request_labels = ["method", "endpoint", "status"]
        self.requests = Counter(
            "http_requests_total",
            "HTTP requests by status class; cancelled and impatient ones are 4xx, late ones 5xx.",
            request_labels,
            registry=self.registry,
        )
        self.request_seconds = LiveHistogram(
            "http_request_duration_seconds",
            "Time from the request's first byte to its last answer byte.",
            labels=request_labels,
            buckets=REQUEST_BUCKETS,
        )
        self.registry.register(self.request_seconds)
        self.queue_size = Gauge(
            "inference_queue_size",
            "Requests admitted and not yet answered.",
            registry=self.registry,
        )

    def _declare_own(self) -> None:
        self.rejections = Counter(
            "igw_runtime_rejected_requests_total",
            "Requests refused or failed, by problem type.",
            ["reason"],
            registry=self.registry,
        )
        self.abandoned = Counter(
            "igw_runtime_abandoned_requests_total",
            "Admitted work dropped uncomputed: its client left or its deadline passed.",
            registry=self.registry,
        )
        self.live_settings_info = Gauge(
            "igw_runtime_live_settings_info",
            "Digest of the live settings now in force.",
            ["hash"],
            registry=self.registry,
        )
        self.state = Gauge(
            "igw_runtime_state",
            "1 for the life-cycle state the process is in.",
            ["state"],
            registry=self.registry,
        )
        self.workers = Gauge(
            "igw_runtime_workers", "Threads that run inference.", registry=self.registry
        )
        self.connections = Gauge(
            "igw_runtime_connections", "Connections open for HTTP.", registry=self.registry
        )
        self.cut_connections = Counter(
            "igw_runtime_cut_connections_total",
            "Connections that were ended because they took too long, or were too many.",
            ["reason"],
            registry=self.registry,
        )

    def _prepare_children(self) -> None:
        """Create the series that matter at zero: a first error must not be lost to `rate()`."""
        for endpoint in HTTP_INFERENCE_ENDPOINTS:
            self.prepare_endpoint(endpoint)
        for slug in REJECTION_SLUGS:
            self.rejections.labels(slug)
        for state in LIFECYCLE_STATES:
            self.state.labels(state)
        for reason in CUT_REASONS:
            self.cut_connections.labels(reason)

    def prepare_endpoint(self, endpoint: str) -> None:
        """Create the request series of an endpoint that infers."""
        for status in STATUSES:
            self.requests.labels("POST", endpoint, status)
            self.request_seconds.prepare("POST", endpoint, status)

    def register_process(self, budget: CpuBudget) -> None:
        """Add what the process and its cgroup say; not for tests that share a process."""
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(CpuCollector(budget))

    def apply(self, settings: MetricsSettings) -> None:
        """Take over live settings: new buckets appear, no count is lost."""
        self.request_seconds.ensure_buckets(settings.latency_buckets_seconds)
        self.models.limit_classes(settings.max_prediction_classes)

    def show_live_hash(self, live_hash: str) -> None:
        """Publish which live settings are in force."""
        self.live_settings_info.clear()
        self.live_settings_info.labels(live_hash).set(1)

    def show_state(self, state: str) -> None:
        """Publish the life-cycle state."""
        for name in LIFECYCLE_STATES:
            self.state.labels(name).set(1 if name == state else 0)

    def watch_logs(self, read_drops: Callable[[], Mapping[tuple[str, DropReason], int]]) -> None:
        """Read at scrape time how many log lines were dropped."""
        zero: dict[tuple[str, ...], int] = {
            (level, str(reason)): 0 for level in LEVELS for reason in DropReason
        }
        self.registry.register(
            LossCollector(
                "igw_runtime_log_lines_dropped",
                "Log lines that were not written.",
                ["level", "reason"],
                lambda: zero | {(level, str(why)): n for (level, why), n in read_drops().items()},
            )
        )

    def watch_spans(self, read_losses: Callable[[], Mapping[LossReason, int]]) -> None:
        """Read at scrape time how many spans were lost."""
        zero: dict[tuple[str, ...], int] = {(str(reason),): 0 for reason in LossReason}
        self.registry.register(
            LossCollector(
                "igw_runtime_spans_lost",
                "Spans that no collector got.",
                ["reason"],
                lambda: zero | {(str(why),): n for why, n in read_losses().items()},
            )
        )

    def watch_keys(self) -> None:
        """Declare what is known of a token issuer's keys, where there is one."""
        self.key_fetches = Counter(
            "igw_runtime_jwks_fetches_total",
            "Fetches of the token issuer's keys.",
            ["result"],
            registry=self.registry,
        )
        self.last_keys = Gauge(
            "igw_runtime_jwks_last_success_timestamp_seconds",
            "When the issuer's keys were last had, in seconds since the epoch; 0 before.",
            registry=self.registry,
        )
        for result in ("ok", "failed"):
            self.key_fetches.labels(result)

    def count_key_fetch(self, *, ok: bool) -> None:
        """Count one fetch of the issuer's keys."""
        self.key_fetches.labels("ok" if ok else "failed").inc()
        if ok:
            self.last_keys.set_to_current_time()

    def watch_certificate(self) -> Callable[[float], None]:
        """Return what publishes when the served certificate ends."""
        gauge = Gauge(
            "igw_runtime_certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends, in seconds since the epoch.",
            registry=self.registry,
        )
        return gauge.set

    def watch_connections(self, read_count: Callable[[], float]) -> None:
        """Read at scrape time how many connections are open."""
        self.connections.set_function(read_count)

    def count_cut_connection(self, reason: str) -> None:
        """Count a connection that was ended by us, for a reason of a closed set."""
        self.cut_connections.labels(reason).inc()

    def watch_queue(self, read_size: Callable[[], int]) -> None:
        """Read the queue's size at scrape time instead of writing it on every request."""
        self.queue_size.set_function(read_size)


class LossCollector(Collector):
    """Telemetry that was lost, counted elsewhere: each series is there at zero from the start."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[tuple[str, ...], int]],
    ) -> None:
        self._declaration = (name, documentation, None, list(labels))
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Tell the registry the name."""
        return [CounterMetricFamily(*self._declaration)]

    def collect(self) -> Iterable[Metric]:
        """Render what `read` returns."""
        metric = CounterMetricFamily(*self._declaration)
        for values, count in self._read().items():
            metric.add_metric(values, count)
        return [metric]


class CpuCollector(Collector):
    """CPU quota and throttling of the cgroup: the first thing to look at when latency is odd."""

    def __init__(self, budget: CpuBudget) -> None:
        self._budget = budget

    def describe(self) -> Iterable[Metric]:
        """Tell the registry the names without reading files."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Read the cgroup's counters."""
        cores = GaugeMetricFamily(
            "igw_runtime_cpu_quota_cores", "CPUs that the cgroup quota and affinity allow."
        )
        cores.add_metric([], self._budget.quota_cores)
        throttled = CounterMetricFamily(
            "igw_runtime_cpu_throttled_seconds", "Time the cgroup was throttled by its CPU quota."
        )
        throttled.add_metric([], read_throttling(self._budget.stat_path))
        return [cores, throttled]
