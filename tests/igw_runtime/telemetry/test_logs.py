import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from igw_runtime.settings import LoggingSettings
from igw_runtime.telemetry.log_budget import DropReason
from igw_runtime.telemetry.logs import (
    LevelGate,
    RepeatFilter,
    configure_logs,
    configure_server_logs,
)


class Log:
    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.gate: LevelGate = configure_logs("info", self.stream)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    """Return captured log output."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Log()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_line_has_the_seed_fields_in_reading_order(log: Log) -> None:
    """A person reading a line sees when, how bad, what and which request first."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    structlog.contextvars.bind_contextvars(request_id="r1")
    with tracer.start_as_current_span("s") as span:
        structlog.get_logger().info("prediction_completed", prediction="cat", duration_ms=1.5)

    [line] = log.lines()
    assert list(line)[:6] == [
        "timestamp",
        "level",
        "message",
        "request_id",
        "trace_id",
        "span_id",
    ]
    assert line["level"] == "INFO"
    assert line["message"] == "prediction_completed"
    assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert line["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert line["timestamp"].endswith("Z")


def test_level_is_live(log: Log) -> None:
    """Turning the level up or down affects the next event."""
    logger = structlog.get_logger()
    logger.debug("hidden")
    log.gate.set_level("debug")
    logger.debug("shown")
    log.gate.set_level("error")
    logger.info("hidden")
    logging.getLogger("uvicorn.error").warning("hidden")

    assert [line["message"] for line in log.lines()] == ["shown"]


def test_server_log_is_written_within_its_budget(log: Log) -> None:
    """Requests that are not sampled leave errors only; libraries go through the same thread."""
    stream = io.StringIO()
    settings = LoggingSettings.model_validate({"samplingPercent": {"info": 0}})
    server = configure_server_logs(settings, stream)
    logger = structlog.get_logger()
    logger.info("server_ready")
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logger.info("request_received")
        logger.error("request_failed")
    logging.getLogger("uvicorn.error").error("library failed")
    server.apply(LoggingSettings())
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logger.info("request_completed")
    server.budget.note_drop("info", 9, DropReason.RATE)
    server.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "server_ready",
        "request_failed",
        "library failed",
        "request_completed",
        "logs_dropped",
    ]
    assert lines[-1]["level"] == "WARNING"
    assert lines[-1]["dropped"] == [
        {"level": "info", "reason": "rate", "count": 1, "size_bytes": 9}
    ]
    assert log.lines() == []


def test_library_logs_are_json_too(log: Log) -> None:
    """No line of the output breaks a JSON parser, tracebacks included."""
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("opentelemetry.x").exception("export of %s failed", "spans")

    [line] = log.lines()
    assert line["message"] == "export of spans failed"
    assert line["logger"] == "opentelemetry.x"
    assert "ZeroDivisionError" in line["exception"]


@pytest.mark.parametrize("name", ["python_multipart.multipart", "opentelemetry.trace.span"])
def test_what_a_client_sent_is_no_warning_of_ours(log: Log, name: str) -> None:
    """Libraries that warn of broken forms and headers would log what strangers write."""
    logging.getLogger(name).warning("Expected boundary character 45")

    assert log.lines() == []


@pytest.mark.filterwarnings("default")
def test_broken_metadata_of_a_picture_is_no_warning_of_ours(log: Log) -> None:
    """Strangers send broken EXIF by the thousand; other warnings are still shown."""
    for module in ("PIL.TiffImagePlugin", "numpy"):
        warnings.warn_explicit(f"of {module}", UserWarning, "x.py", 1, module=module)

    [line] = log.lines()
    assert "of numpy" in line["message"]


def test_the_same_complaint_is_made_once_a_minute() -> None:
    """A dead collector does not flood the log."""
    now = 0.0
    repeat = RepeatFilter(lambda: now)
    record = logging.LogRecord("otel", logging.ERROR, "", 0, "failed: %s", ("x",), None)

    assert repeat.filter(record)
    now = 59.0
    assert not repeat.filter(record)
    now = 61.0
    assert repeat.filter(record)
