"""JSON lines on standard output: one event a line, with the ids of its request and its trace.

`configure_logs` is called once by `__main__`; the standard library's loggers (uvicorn,
OpenTelemetry) go through the same renderer, so every line parses. Level and budget are live. The
server writes through a thread (`telemetry.log_writer`); commands, whose reader is a person, do not.
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from igw_runtime.settings import LoggingSettings
from igw_runtime.telemetry import names
from igw_runtime.telemetry.log_budget import LEVELS, Dropped, LogBudget
from igw_runtime.telemetry.log_writer import LogWriter

_LEADING_KEYS: Final = ("timestamp", "level", "message", "request_id", "trace_id", "span_id")
_REPEAT_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 1.0


Write = Callable[[str, str], None]
"""What takes a finished line, with its level."""


class LevelGate:
    """Drops events below a level, and of requests that are not sampled; both may change."""

    def __init__(self, level: str, budget: LogBudget | None = None) -> None:
        self._threshold = LEVELS[level]
        self._budget = budget

    def set_level(self, level: str) -> None:
        """Move the threshold; the next event sees it."""
        self._threshold = LEVELS[level]

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Pass or drop one event."""
        level = str(event.get("level", method)).lower()
        if LEVELS.get(level, 20) < self._threshold:
            raise structlog.DropEvent
        if self._budget and not self._budget.samples(level, event.get("request_id")):
            raise structlog.DropEvent
        return event


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLog:
    """The log of a process that serves: what of it may change, and its end."""

    gate: LevelGate
    budget: LogBudget
    writer: LogWriter

    def apply(self, settings: LoggingSettings) -> None:
        """Take over live settings."""
        self.gate.set_level(settings.level)
        self.budget.apply(settings)

    def close(self) -> None:
        """Write what is waiting, unless nobody reads it."""
        self.writer.close(CLOSE_SECONDS)


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


def configure_logs(level: str, stream: TextIO) -> LevelGate:
    """Write each line at once, as a command does that ends soon."""
    gate = LevelGate(level)

    def write(_level: str, line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    _configure(gate, write)
    return gate


def configure_server_logs(settings: LoggingSettings, stream: TextIO) -> ServerLog:
    """Write through a thread, within a budget, as a server does whose reader may stall."""
    budget = LogBudget(settings)
    gate = LevelGate(settings.level, budget)
    writer = LogWriter(stream, budget, render_report)
    writer.start()
    _configure(gate, writer.write)
    return ServerLog(gate=gate, budget=budget, writer=writer)


def render_report(dropped: Sequence[Dropped]) -> str:
    """Return the line that says what was dropped; it is part of no budget."""
    event = {
        "event": names.EVENT_LOGS_DROPPED,
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "dropped": [asdict(each) for each in dropped],
    }
    return _dump(order_keys(None, "warning", event))


def _configure(gate: LevelGate, write: Write) -> None:
    """Send structlog and the standard library through one JSON renderer."""
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
        logger_factory=lambda *_: _LineLogger(write),
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _GatedHandler(write)
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
    # So do these: of metadata that is broken, in a picture that may still be good.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class _LineLogger:
    """What structlog calls with a rendered event: the method's name is the level."""

    def __init__(self, write: Write) -> None:
        self.debug = partial(write, "debug")
        self.info = partial(write, "info")
        self.warning = partial(write, "warning")
        self.error = partial(write, "error")
        self.critical = partial(write, "critical")


class _GatedHandler(logging.Handler):
    """A handler that accepts the gate's answer "drop it" from inside the formatter."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except structlog.DropEvent:
            return
        self._write(record.levelname.lower(), line)


def _dump(event: Any, **_: Any) -> str:
    return json.dumps(event, default=str, ensure_ascii=False, separators=(",", ":"))
