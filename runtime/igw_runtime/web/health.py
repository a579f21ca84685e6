"""Probes and the scrape: cheap, honest, and never behind the queue.

Liveness says that the process can make progress: it fails when the engine has been stuck in one
batch for minutes. Readiness says that traffic should come here.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.types import Receive, Scope, Send

from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.web.endpoint import Handler
from igw_runtime.web.exchange import read_headers, send_json, send_response

STUCK_SECONDS: Final = 120.0


def is_stuck(busy_seconds: float) -> bool:
    """Tell whether an inference has been running for so long that only a restart helps."""
    return busy_seconds > STUCK_SECONDS


def build_live(lifecycle: Lifecycle, longest_busy_seconds: Callable[[], float]) -> Handler:
    """Return the liveness handler."""

    async def live(_scope: Scope, _receive: Receive, send: Send) -> None:
        stuck = is_stuck(longest_busy_seconds())
        status = "stuck" if stuck else "ok"
        content = {"status": status, "live": not stuck, "state": lifecycle.state.value}
        await send_json(send, 503 if stuck else 200, content)

    return live


def build_ready(lifecycle: Lifecycle) -> Handler:
    """Return the readiness handler."""

    async def ready(_scope: Scope, _receive: Receive, send: Send) -> None:
        is_ready = lifecycle.state is State.READY
        content = {"ready": is_ready, "state": lifecycle.state.value}
        await send_json(send, 200 if is_ready else 503, content)

    return ready


def build_metrics(registry: CollectorRegistry) -> Handler:
    """Return the scrape handler; rendering takes milliseconds, so not on the event loop."""

    async def metrics(scope: Scope, _receive: Receive, send: Send) -> None:
        encoder, content_type = choose_encoder(read_headers(scope).get("accept", ""))
        body = await asyncio.to_thread(encoder, registry)
        await send_response(send, 200, body, content_type=content_type)

    return metrics
