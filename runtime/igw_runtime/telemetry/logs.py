"""JSON lines on standard output: one event a line, with the ids of its request and its trace.

`configure_logs` is called once by `__main__`; the standard library's loggers (uvicorn,
OpenTelemetry) go through the same renderer, so every line parses. The level is live.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_LEADING_KEYS: Final = ("timestamp", "level", "message", "request_id", "trace_id", "span_id")
_REPEAT_SECONDS: Final = 60.0


class LevelGate:
    """Drops events below a level that may change while the process runs."""

    def __init__(self, level: str) -> None:
        self._threshold = _LEVELS[level]

    def set_level(self, level: str) -> None:
        """Move the threshold; the next event sees it."""
        self._threshold = _LEVELS[level]

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Pass or drop one event."""
        level = event.get("level", method)
        if _LEVELS.get(str(level).lower(), 20) < self._threshold:
            raise structlog.DropEvent
        return event


class RepeatFilter(logging.Filter):
    """Lets a library say the same thing once a minute: a dead collector must not flood the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass the first of each (logger, message template) in a minute."""
        now = self._clock()
        key = f"{record.name}:{record.msg}"[:200]
        if now - self._last.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        if len(self._last) > 1000:  # noqa: PLR2004  templates are few; this bounds a surprise
            self._last.clear()
        self._last[key] = now
        return True


def add_trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the ids of the current span, zero-padded as every backend expects them."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def order_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the event `message`, upper-case the level, and put the keys people read first."""
    event["message"] = event.pop("event", "")
    event["level"] = str(event.get("level", "info")).upper()
    leading = {key: event[key] for key in _LEADING_KEYS if key in event}
    return {**leading, **event}


def configure_logs(level: str, stream: TextIO | None = None) -> LevelGate:
    """Send structlog and the standard library through one JSON renderer."""
    gate = LevelGate(level)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        gate,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
    ]
    render: list[Processor] = [
        structlog.processors.format_exc_info,
        order_keys,
        structlog.processors.JSONRenderer(serializer=_dump),
    ]
    structlog.configure(
        processors=[*shared, *render],
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stdout),
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _GatedHandler(stream or sys.stdout)
    handler.addFilter(RepeatFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    for noisy in ("uvicorn", "uvicorn.error", "opentelemetry", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # These warn of what a client sent (a broken form, a broken tracestate) and of spans that a
    # worker still writes to when its client has left.
    for useless in ("python_multipart", "opentelemetry.trace", "opentelemetry.sdk.trace"):
        logging.getLogger(useless).setLevel(logging.ERROR)
    return gate


class _GatedHandler(logging.StreamHandler[Any]):
    """A stream handler that accepts the gate's answer "drop it" from inside the formatter."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except structlog.DropEvent:
            return
        self.stream.write(line + self.terminator)
        self.flush()


def _dump(event: Any, **_: Any) -> str:
    return json.dumps(event, default=str, ensure_ascii=False, separators=(",", ":"))
