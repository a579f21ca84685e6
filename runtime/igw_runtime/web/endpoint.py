"""A route: methods to handlers, and the one place where a failure becomes a response.

Two dialects of errors are spoken: problem+json on our own endpoints, `{"error": …}` where the
Open Inference Protocol rules.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from igw_runtime.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
    InternalError,
    MethodNotAllowedError,
    RequestError,
)
from igw_runtime.telemetry import names
from igw_runtime.web.exchange import (
    Exchange,
    encode_json,
    get_exchange,
    problem_body,
    read_headers,
    send_response,
)
from igw_runtime.web.recording import Recorder

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
ErrorBody = Callable[[RequestError, str], tuple[str, bytes]]

# As a web server's lingering close: long enough for a plain client, which reads nothing before
# it has sent all, to get its answer; a connection is all that it costs.
LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 128 << 20
_log = structlog.get_logger()


def problem_error(error: RequestError, request_id: str) -> tuple[str, bytes]:
    """Render an error for our own endpoints (RFC 9457)."""
    return "application/problem+json", problem_body(error, request_id)


def oip_error(error: RequestError, _request_id: str) -> tuple[str, bytes]:
    """Render an error for the Open Inference Protocol, whose clients parse exactly this."""
    return "application/json", encode_json({"error": str(error)})


def demand_token(handler: Handler, check: Callable[[str | None], None]) -> Handler:
    """Return the handler behind a check of the request's token."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        check(read_headers(scope).get("authorization"))
        await handler(scope, receive, send)

    return guarded


class Endpoint:
    """One path of the application."""

    def __init__(
        self, methods: Mapping[str, Handler], recorder: Recorder, error_body: ErrorBody
    ) -> None:
        self._methods = methods
        self._recorder = recorder
        self._error_body = error_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; every failure ends here."""
        exchange = get_exchange(scope)
        try:
            await self._find_handler(scope["method"])(scope, receive, send)
        except RequestError as error:
            await self._refuse(error, scope, receive, send)
        except Exception as error:  # request boundary
            _log.error(names.EVENT_REQUEST_FAILED, error=type(error).__name__, exc_info=error)
            if exchange.status:
                raise
            await self._refuse(InternalError("see the log"), scope, receive, send)

    def _find_handler(self, method: str) -> Handler:
        handler = self._methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            also = ["HEAD"] if "GET" in self._methods else []
            allowed = ", ".join([*self._methods, *also])
            message = f"this path serves {allowed}"
            raise MethodNotAllowedError(message, headers={"Allow": allowed})
        return handler

    async def _refuse(
        self, error: RequestError, scope: Scope, receive: Receive, send: Send
    ) -> None:
        exchange = get_exchange(scope)
        self._recorder.refuse(exchange, error)
        if isinstance(error, ClientGoneError):
            exchange.status = error.status
            return
        content_type, body = self._error_body(error, exchange.request_id)
        headers = dict(error.headers)
        linger = _must_linger(error, scope, exchange)
        if linger or isinstance(error, BodyTimeoutError):
            headers["Connection"] = "close"
        await send_response(
            send, error.status, body, content_type=content_type, headers=headers, more=linger
        )
        if linger:
            await _discard_body(receive)
            await send({"type": "http.response.body", "body": b""})


def _must_linger(error: RequestError, scope: Scope, exchange: Exchange) -> bool:
    """Tell whether closing now would reset a client that is still sending.

    A reset makes the client lose the answer it has not read yet. A body of acceptable size is
    simply drained by the server, which keeps the connection; this is for the others.
    """
    if exchange.body_read:
        return False
    chunked = "transfer-encoding" in read_headers(scope)
    return isinstance(error, BodyTooLargeError) or chunked


async def _discard_body(receive: Receive) -> None:
    seen = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while seen < LINGER_BYTES:
                message = await receive()
                seen += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return
