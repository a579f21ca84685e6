"""The outermost layer: ids, the server span, request metrics, and the two request log events.

Plain ASGI, because a BaseHTTPMiddleware would lose context variables and stream through a queue.
Probes are counted under their own endpoint but neither traced nor logged above debug.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import context as otel_context
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igw_runtime.serving.lifecycle import Lifecycle
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import METHODS, OTHER, Metrics
from igw_runtime.web.exchange import Exchange, attach_exchange, read_headers

QUIET_PATHS: Final = frozenset(
    {"/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready", "/docs"}
)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_log = structlog.get_logger()


class RequestTelemetry:
    """Observes every request; changes only two response headers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        tracer: Tracer,
        lifecycle: Lifecycle,
        slow_seconds: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._lifecycle = lifecycle
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through, watched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        quiet = scope["path"] in QUIET_PATHS
        headers = read_headers(scope)
        with self._server_span(scope, headers, quiet=quiet) as span:
            exchange = Exchange(
                request_id=choose_request_id(headers.get("x-request-id")),
                trace_id=format_trace_id(span.get_span_context().trace_id),
                started=self._clock(),
            )
            attach_exchange(scope, exchange)
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
            log = _log.debug if quiet else _log.info
            log(names.EVENT_REQUEST_RECEIVED, method=scope["method"], path=scope["path"][:256])
            try:
                await self._app(scope, receive, self._watch(send, exchange))
            finally:
                self._record(scope, exchange, span, log)

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

    @contextmanager
    def _server_span(self, scope: Scope, headers: dict[str, str], *, quiet: bool) -> Iterator[Span]:
        """Start the root span of a traced request; probes get none."""
        if quiet:
            yield INVALID_SPAN
            return
        parent = self._propagator.extract(headers, context=otel_context.Context())
        span = self._tracer.start_span(
            _name_method(scope),
            context=parent,
            kind=SpanKind.SERVER,
            attributes=_describe(scope, headers),
        )
        token = otel_context.attach(set_span_in_context(span))
        try:
            yield span
        finally:
            otel_context.detach(token)
            span.end()

    def _record(
        self, scope: Scope, exchange: Exchange, span: Span, log: Callable[..., Any]
    ) -> None:
        seconds = self._clock() - exchange.started
        # No status means that the handler was cancelled: the server gave up on the request.
        status = exchange.status or 500
        method = scope["method"] if scope["method"] in METHODS else OTHER
        endpoint = get_endpoint(scope)
        labels = (method, endpoint, f"{status // 100}xx")
        slow = seconds > self._slow_seconds()
        failed = status >= 500  # noqa: PLR2004
        self._metrics.requests.labels(*labels).inc()
        # Only what tail sampling keeps gets an exemplar: a link to a dropped trace is worse.
        worth_a_link = (slow or failed) and span.get_span_context().trace_flags.sampled
        exemplar = {"trace_id": exchange.trace_id} if worth_a_link else None
        self._metrics.request_seconds.observe(seconds, *labels, exemplar=exemplar)
        _finish_span(span, scope, exchange, status, slow=slow)
        fields: MutableMapping[str, Any] = {
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
        }
        if exchange.error_slug:
            fields["error"] = exchange.error_slug
        log(names.EVENT_REQUEST_COMPLETED, **fields)


def choose_request_id(header: str | None) -> str:
    """Return the client's id if it is short and harmless, else a new one."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header
    return str(uuid.uuid4())


def get_endpoint(scope: Scope) -> str:
    """Return the matched route's template; the path itself would be unbounded."""
    route = scope.get("route")
    return str(route.path) if route is not None else OTHER


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
        attributes[names.SERVER_ADDRESS] = headers.get("host", server[0]).partition(":")[0]
        attributes[names.SERVER_PORT] = server[1] or 0
    if client:
        attributes[names.CLIENT_ADDRESS] = client[0]
    if "user-agent" in headers:
        attributes[names.USER_AGENT] = headers["user-agent"][:256]
    return attributes


def _finish_span(span: Span, scope: Scope, exchange: Exchange, status: int, *, slow: bool) -> None:
    if not span.is_recording():
        return
    endpoint = get_endpoint(scope)
    if endpoint != OTHER:
        span.update_name(f"{_name_method(scope)} {endpoint}")
        span.set_attribute(names.HTTP_ROUTE, endpoint)
    span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, status)
    span.set_attribute(names.REQUEST_ID, exchange.request_id)
    if slow:
        span.set_attribute(names.SLOW, value=True)
    if exchange.error_slug:
        span.set_attribute(names.ERROR_TYPE, exchange.error_slug)
    if status >= 500:  # noqa: PLR2004  by convention a client's error is not the server's
        span.set_status(StatusCode.ERROR)
