import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)
from structlog.testing import capture_logs

from igw_runtime.settings import Environment, Settings, TracingSettings
from igw_runtime.telemetry import tracing
from igw_runtime.telemetry.span_losses import (
    MAX_WAITING_SPANS,
    LossReason,
    SpanLosses,
    build_processor,
)
from igw_runtime.telemetry.tracing import LiveSampler, Tracing, build_resource, build_tracing

ENVIRONMENT = Environment(
    config_path=Path("/c"),
    models_root=Path("/m"),
    termination_log=Path("/t"),
    host="",
    pod_name="photos-1",
    pod_namespace="demo",
    node_name="n1",
)


def a_settings(**parts: Any) -> Settings:
    """Return settings with these sections."""
    content = {"schemaVersion": 1, "model": {"name": "m", "version": "7"}, **parts}
    return Settings.model_validate(content)


def is_sampled(sampler: LiveSampler, trace_id: int = 1, parent: Context | None = None) -> bool:
    """Tell what the sampler decides."""
    decision = sampler.should_sample(parent, trace_id, "s").decision
    return decision is Decision.RECORD_AND_SAMPLE


def a_parent(*, sampled: bool) -> Context:
    """Return the context of a remote parent."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=flags))
    return set_span_in_context(span)


def test_ratio_decides_by_trace_id() -> None:
    """Ten percent of the id space is sampled, the same part on every replica."""
    sampler = LiveSampler(TracingSettings(samplingPercent=10.0))

    assert is_sampled(sampler, trace_id=(1 << 64) // 10 - (1 << 20))
    assert not is_sampled(sampler, trace_id=(1 << 64) // 10 + (1 << 20))


@pytest.mark.parametrize(("percent", "expected"), [(0.0, False), (100.0, True)])
def test_ratio_ends_are_exact(percent: float, *, expected: bool) -> None:
    """Nothing means nothing, everything means everything."""
    sampler = LiveSampler(TracingSettings(samplingPercent=percent))

    assert expected is is_sampled(sampler, trace_id=0)
    assert expected is is_sampled(sampler, trace_id=(1 << 128) - 1)


@pytest.mark.parametrize("sampled", [True, False])
def test_callers_decision_is_followed(*, sampled: bool) -> None:
    """A trace is whole or absent, whatever our own ratio."""
    sampler = LiveSampler(TracingSettings(samplingPercent=0.0 if sampled else 100.0))

    assert sampled is is_sampled(sampler, parent=a_parent(sampled=sampled))


def test_settings_change_the_next_decision() -> None:
    """Sampling is live, and so is switching it off."""
    sampler = LiveSampler(TracingSettings(samplingPercent=0.0))

    sampler.apply(TracingSettings(samplingPercent=100.0))
    assert is_sampled(sampler)

    sampler.apply(TracingSettings(enabled=False, samplingPercent=100.0))
    assert not is_sampled(sampler, parent=a_parent(sampled=True))


def test_without_an_endpoint_nothing_is_recorded_but_ids_exist() -> None:
    """Logs have trace ids even when traces go nowhere, before and after live changes."""
    built = build_tracing(a_settings(), ENVIRONMENT)
    built.sampler.apply(TracingSettings(samplingPercent=100.0))

    span = built.tracer.start_span("s")

    assert not span.is_recording()
    assert span.get_span_context().is_valid


class Refusing(SpanExporter):
    """A collector that refuses, once the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.gate.wait(5)
        return SpanExportResult.FAILURE if spans else SpanExportResult.SUCCESS


def test_every_lost_span_is_counted_once() -> None:
    """Too many to wait, refused, or too late: by reason, and nothing is lost uncounted."""
    losses, exporter = SpanLosses(lambda: 0.0), Refusing()
    processor = build_processor(exporter, losses)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    with capture_logs() as logs:
        for _ in range(3 * MAX_WAITING_SPANS):
            provider.get_tracer("t").start_span("s").end()
        exporter.gate.set()
        provider.shutdown()
        provider.get_tracer("t").start_span("s").end()
        losses.report()

    counts = losses.count()
    assert sum(counts.values()) == 3 * MAX_WAITING_SPANS + 1
    assert counts[LossReason.STOPPED] == 1
    # While the first batch was held, a batch and a queue full were kept.
    assert counts[LossReason.QUEUE_FULL] >= 3 * MAX_WAITING_SPANS - MAX_WAITING_SPANS - 512
    assert [line["event"] for line in logs] == ["spans_lost", "spans_lost"]
    said = [line.get("queue_full", 0) for line in logs]
    assert said == [1, counts[LossReason.QUEUE_FULL] - 1]


def test_losses_are_said_every_ten_seconds() -> None:
    """A collector that is down for a day is six lines a minute, not six thousand."""
    now = 0.0
    losses = SpanLosses(lambda: now)
    with capture_logs() as logs:
        for second in range(25):
            now = float(second)
            losses.note(LossReason.EXPORT_FAILED, 10)

    assert [line["export_failed"] for line in logs] == [10, 100, 100]


def test_resource_names_gateway_and_pod() -> None:
    """A trace says which gateway, version and pod it comes from."""
    settings = a_settings(gateway={"name": "photos", "namespace": "demo"})

    assert build_resource(settings, ENVIRONMENT) == {
        "service.name": "photos",
        "service.namespace": "demo",
        "service.version": "7",
        "service.instance.id": "photos-1",
        "k8s.pod.name": "photos-1",
        "k8s.namespace.name": "demo",
        "k8s.node.name": "n1",
    }


def test_shut_down_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that hangs does not eat the grace period."""
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    provider = cast("Any", SimpleNamespace(shutdown=lambda: time.sleep(1)))
    built = Tracing(
        provider=provider, sampler=LiveSampler(TracingSettings()), tracer=cast("Any", None)
    )
    started = time.monotonic()

    built.shut_down()

    assert time.monotonic() - started < 0.5
