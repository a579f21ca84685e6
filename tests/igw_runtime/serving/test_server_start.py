import asyncio
import gc
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from igw_runtime.serving.server import ModelServer
from igw_runtime.settings import parse_settings, read_environment
from igw_runtime.telemetry.logs import configure_server_logs
from runtime_kit.colours import write_package

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModelServer]:
    """Return a server that has not been started."""
    write_package(tmp_path / "colours")
    loaded = parse_settings(b'{"schemaVersion": 1, "model": {"name": "colours"}}')
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log = configure_server_logs(loaded.settings.live.logging, io.StringIO())
    yield ModelServer(loaded, read_environment({"IGW_MODELS": str(tmp_path)}), log)
    log.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


async def test_garbage_is_collected_without_what_start_up_made(server: ModelServer) -> None:
    """A full round over libraries and model would stop every request for tens of milliseconds."""
    await asyncio.to_thread(server._load, asyncio.get_running_loop())
    try:
        assert server._running.failure is None
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        server._queue.close()
