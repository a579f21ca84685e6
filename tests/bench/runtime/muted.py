"""Our runtime with pillars of observability taken out: what they cost is what is missing then.

The runtime has no such switches, and needs none: metrics must always be there, and a log level is
not the absence of a log. So this start replaces the functions that the pillars are made of with
ones that do nothing: `python -m bench.runtime.muted serve …`, with
`BENCH_MUTED=logs,metrics,traces`. With `BENCH_PROFILE=FILE` a thread samples what the others are
doing, and writes it down.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import prometheus_client
import structlog
from opentelemetry import trace
from prometheus_client.metrics import MetricWrapperBase


def mute_logs() -> None:
    """Make loggers of what does nothing; must happen before the runtime is imported."""
    _replace(structlog, get_logger=_build_silent_logger)
    _replace(structlog.contextvars, bind_contextvars=_nothing, clear_contextvars=_nothing)


def mute_metrics() -> None:
    """Let no metric count."""
    from igw_runtime.telemetry.histogram import LiveHistogram  # noqa: PLC0415
    from igw_runtime.telemetry.model_metrics import ModelMeter  # noqa: PLC0415

    _replace(MetricWrapperBase, labels=_itself)
    _replace(prometheus_client.Counter, inc=_nothing)
    _replace(prometheus_client.Gauge, set=_nothing, inc=_nothing, set_to_current_time=_nothing)
    for histogram in (prometheus_client.Histogram, prometheus_client.Summary, LiveHistogram):
        _replace(histogram, observe=_nothing)
    _replace(ModelMeter, observe_stage=_nothing, count_request=_nothing)
    _replace(ModelMeter, count_inference=_nothing, count_prediction=_nothing)


def mute_traces() -> None:
    """Make no spans, not even ones that are thrown away."""
    from igw_runtime.serving.classifier import Classifier  # noqa: PLC0415
    from igw_runtime.telemetry import tracing  # noqa: PLC0415
    from igw_runtime.web.recording import Recorder  # noqa: PLC0415

    _replace(tracing, get_tracer=lambda _provider: trace.NoOpTracer())
    _replace(Recorder, _server_span=_no_span)
    _replace(Classifier, _record_inference=_nothing)


def main() -> None:
    """Mute what is asked for, then be the runtime."""
    asked = set(filter(None, os.environ.get("BENCH_MUTED", "").split(",")))
    if "logs" in asked:
        mute_logs()
    if "metrics" in asked:
        mute_metrics()
    if "traces" in asked:
        mute_traces()
    if path := os.environ.get("BENCH_PROFILE"):
        from bench.runtime.sampler import sample_into  # noqa: PLC0415

        sample_into(path)
    from igw_runtime.__main__ import main as serve  # noqa: PLC0415

    serve()


def _replace(owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        assert hasattr(owner, name), f"{owner} has no {name} that could be muted"
        setattr(owner, name, function)


class _SilentLogger:
    """Says nothing, but for what there should be none of."""

    def __getattr__(self, name: str) -> Any:
        return _complain if name in {"error", "exception", "critical"} else _nothing


def _build_silent_logger(*_: Any, **__: Any) -> Any:
    return _SilentLogger()


def _complain(*words: Any, **fields: Any) -> None:
    print(*words, fields, file=sys.stderr, flush=True)  # noqa: T201


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _itself(metric: Any, *_: Any, **__: Any) -> Any:
    return metric


@contextmanager
def _no_span(*_: Any) -> Iterator[trace.Span]:
    yield trace.INVALID_SPAN


if __name__ == "__main__":
    main()
