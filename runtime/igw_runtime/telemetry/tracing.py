"""Spans: a sampler that follows live settings, an exporter that can die without being noticed.

No global provider is set: the tracer is handed to who needs it. Request ids in logs come from
these spans even when nothing is exported, because an unsampled span still has a trace id.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Tracer, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from igw_runtime import __version__
from igw_runtime.settings import Environment, Settings, TracingSettings
from igw_runtime.telemetry.span_losses import SpanLosses, build_processor

EXPORT_TIMEOUT_SECONDS: Final = 2
FLUSH_SECONDS: Final = 2.5
_TRACE_ID_LIMIT: Final = (1 << 64) - 1


class LiveSampler(Sampler):
    """Parent-based ratio sampling whose ratio, and whose being on at all, may change."""

    def __init__(self, settings: TracingSettings) -> None:
        self._settings = settings

    def apply(self, settings: TracingSettings) -> None:
        """Take over live settings; the next root span sees them."""
        self._settings = settings

    def should_sample(  # noqa: PLR0917  the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Follow the parent's flag; without a parent, compare the trace id with the ratio."""
        parent = get_current_span(parent_context).get_span_context()
        if not self._settings.enabled:
            sampled = False
        elif parent.is_valid:
            sampled = parent.trace_flags.sampled
        else:
            bound = self._settings.sampling_percent / 100 * (_TRACE_ID_LIMIT + 1)
            sampled = (trace_id & _TRACE_ID_LIMIT) < bound
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(
            decision,
            attributes if sampled else None,
            parent.trace_state if parent.is_valid else None,
        )

    def get_description(self) -> str:
        """Describe the sampler as the SDK's own ones do."""
        return f"LiveSampler{{{self._settings.sampling_percent}%}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """The provider and what the process does with it."""

    provider: TracerProvider
    sampler: LiveSampler
    tracer: Tracer
    losses: SpanLosses = field(default_factory=SpanLosses)

    def shut_down(self) -> None:
        """Flush for a bounded time: a dead collector may cost seconds, never the grace period."""
        flusher = threading.Thread(target=self.provider.shutdown, name="otel-flush", daemon=True)
        flusher.start()
        flusher.join(FLUSH_SECONDS)
        self.losses.report()


def build_tracing(settings: Settings, environment: Environment) -> Tracing:
    """Build the provider; without an endpoint nothing is sampled and nothing is exported."""
    endpoint = settings.telemetry.otlp_endpoint.rstrip("/")
    tracing = settings.live.tracing
    sampler = LiveSampler(tracing) if endpoint else _SilentSampler(tracing)
    losses = SpanLosses()
    provider = TracerProvider(
        sampler=sampler,
        resource=Resource.create(build_resource(settings, environment)),
        shutdown_on_exit=False,  # ours is bounded, see shut_down
    )
    if endpoint:
        exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS)
        provider.add_span_processor(build_processor(exporter, losses))
    return Tracing(provider=provider, sampler=sampler, tracer=get_tracer(provider), losses=losses)


def get_tracer(provider: TracerProvider) -> Tracer:
    """Return this package's tracer."""
    return provider.get_tracer("igw_runtime", __version__)


def build_resource(settings: Settings, environment: Environment) -> dict[str, str]:
    """Name the service by its gateway and the pod by what the operator passed in."""
    attributes = {
        "service.name": settings.gateway.name,
        "service.namespace": settings.gateway.namespace or environment.pod_namespace,
        "service.version": settings.model.version or __version__,
        "service.instance.id": environment.pod_name,
        "k8s.pod.name": environment.pod_name,
        "k8s.namespace.name": environment.pod_namespace,
        "k8s.node.name": environment.node_name,
    }
    return {key: value for key, value in attributes.items() if value}


class _SilentSampler(LiveSampler):
    """Samples nothing, whatever the live settings say: there is nowhere to send spans to."""

    def apply(self, settings: TracingSettings) -> None:
        super().apply(settings.model_copy(update={"enabled": False}))

    def __init__(self, settings: TracingSettings) -> None:
        super().__init__(settings.model_copy(update={"enabled": False}))
