"""The outermost layer of HTTP: every request is recorded, two response headers are set.

Plain ASGI, because a BaseHTTPMiddleware would lose context variables and stream through a queue.
"""

import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igw_runtime.serving.lifecycle import Lifecycle
from igw_runtime.serving.listening import split_host, unmap_ipv4
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import METHODS
from igw_runtime.telemetry.names import OTHER
from igw_runtime.web.exchange import Exchange, attach_exchange, read_headers
from igw_runtime.web.recording import Arrival, Recorder

_QUIET_PATHS: Final = re.compile(
    r"/health|/ready|/metrics|/docs|/v2/health/(live|ready)"
    r"|/v2/models/[^/]+(/versions/[^/]+)?/ready|/v1/models/[^/:]+"
)


class RequestTelemetry:
    """Observes every request; changes only two response headers."""

    def __init__(self, app: ASGIApp, *, recorder: Recorder, lifecycle: Lifecycle) -> None:
        self._app = app
        self._recorder = recorder
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through, watched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._recorder.record(_describe_arrival(scope)) as exchange:
            attach_exchange(scope, exchange)
            try:
                await self._app(scope, receive, self._watch(send, exchange))
            finally:
                _describe_outcome(scope, exchange)

    def _watch(self, send: Send, exchange: Exchange) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                extra = [(b"x-request-id", exchange.request_id.encode("latin-1"))]
                if self._lifecycle.closing_connections:
                    extra.append((b"connection", b"close"))
                ours = {name for name, _ in extra}
                kept = [pair for pair in message["headers"] if pair[0] not in ours]
                message["headers"] = [*kept, *extra]
            await send(message)

        return watched


def get_endpoint(scope: Scope) -> str:
    """Return the matched route's template; the path itself would be unbounded."""
    route = scope.get("route")
    return str(route.path) if route is not None else OTHER


def _describe_arrival(scope: Scope) -> Arrival:
    headers = read_headers(scope)
    return Arrival(
        method=scope["method"] if scope["method"] in METHODS else OTHER,
        path=scope["path"],
        span_name=_name_method(scope),
        headers=headers,
        attributes=_describe(scope, headers),
        quiet=_QUIET_PATHS.fullmatch(scope["path"]) is not None,
    )


def _describe_outcome(scope: Scope, exchange: Exchange) -> None:
    exchange.endpoint = get_endpoint(scope)
    exchange.span_attributes = {names.HTTP_RESPONSE_STATUS_CODE: exchange.status or 500}
    if exchange.endpoint != OTHER:
        exchange.span_name = f"{_name_method(scope)} {exchange.endpoint}"
        exchange.span_attributes[names.HTTP_ROUTE] = exchange.endpoint


def _name_method(scope: Scope) -> str:
    """Return the method as span names have it: an invented one would make names unbounded."""
    return scope["method"] if scope["method"] in METHODS else "HTTP"


def _describe(scope: Scope, headers: dict[str, str]) -> dict[str, str | int]:
    server, client = scope.get("server"), scope.get("client")
    attributes: dict[str, str | int] = {
        names.HTTP_REQUEST_METHOD: scope["method"] if scope["method"] in METHODS else OTHER,
        names.URL_SCHEME: scope["scheme"],
        names.URL_PATH: scope["path"][:256],
        names.NETWORK_PROTOCOL_VERSION: scope["http_version"],
    }
    if server:
        attributes[names.SERVER_ADDRESS] = split_host(headers.get("host", server[0]))
        attributes[names.SERVER_PORT] = server[1] or 0
    if client:
        attributes[names.CLIENT_ADDRESS] = unmap_ipv4(client[0])
    if "user-agent" in headers:
        attributes[names.USER_AGENT] = headers["user-agent"][:256]
    return attributes
