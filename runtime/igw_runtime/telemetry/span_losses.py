"""Spans that never reached a collector: counted by reason, and said in the log now and then.

The SDK drops silently by design, so that a dead or slow collector costs no request; who looks for
a trace that is not there must be able to see why.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from igw_runtime.telemetry import names

MAX_WAITING_SPANS: Final = 2048
REPORT_SECONDS: Final = 10.0
_log = structlog.get_logger()


class LossReason(StrEnum):
    """Why spans are gone."""

    QUEUE_FULL = "queue_full"
    """They were made faster than the collector took them."""
    EXPORT_FAILED = "export_failed"
    """The collector refused them, or could not be reached in time."""
    STOPPED = "stopped"
    """They ended after the last flush of the process had begun."""


class SpanLosses:
    """Counts losses; safe to tell from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # a finalizer may log, and logging may end up here
        self._counts: Counter[LossReason] = Counter()
        self._said: Counter[LossReason] = Counter()
        self._said_at = -REPORT_SECONDS

    def note(self, reason: LossReason, count: int) -> None:
        """Count lost spans; the first are said at once, the next ones ten seconds later."""
        with self._lock:
            self._counts[reason] += count
            due = self._clock() - self._said_at >= REPORT_SECONDS
        if due:
            self.report()

    def count(self) -> Mapping[LossReason, int]:
        """Return how many spans were ever lost, by reason."""
        with self._lock:
            return dict(self._counts)

    def report(self) -> None:
        """Say what was lost since this was last said."""
        with self._lock:
            lost = self._counts - self._said
            self._said = self._counts.copy()
            self._said_at = self._clock()
        if lost:
            _log.warning(names.EVENT_SPANS_LOST, **{str(key): lost[key] for key in sorted(lost)})


class CountingExporter(SpanExporter):
    """Passes spans on, and notes those that did not arrive."""

    def __init__(self, exporter: SpanExporter, losses: SpanLosses) -> None:
        self._exporter = exporter
        self._losses = losses

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._losses.note(LossReason.EXPORT_FAILED, len(spans))
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Ask the exporter to send what it holds."""
        return self._exporter.force_flush(timeout_millis)


def build_processor(exporter: SpanExporter, losses: SpanLosses) -> BatchSpanProcessor:
    """Return the SDK's batching processor, which tells its drops to `losses`."""
    processor = BatchSpanProcessor(
        CountingExporter(exporter, losses), max_queue_size=MAX_WAITING_SPANS
    )
    # The SDK tells drops to this object only. Officially it becomes a meter provider's metrics,
    # behind an environment variable, in a second metrics system; tests watch this attribute.
    processor._batch_processor._metrics = _DropCounter(losses)  # noqa: SLF001
    return processor


class _DropCounter:
    """What the SDK's processor reports to."""

    def __init__(self, losses: SpanLosses) -> None:
        self._losses = losses

    def register_queue_size(self, get_queue_size: Callable[[], int]) -> None:
        """Nothing asks for it."""

    def finish_items(self, count: int) -> None:
        """What was handed to the exporter is the exporter's to count."""

    def drop_items(self, count: int, error_type: str = "queue_full") -> None:
        full = error_type == "queue_full"
        self._losses.note(LossReason.QUEUE_FULL if full else LossReason.STOPPED, count)
