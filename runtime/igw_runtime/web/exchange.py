"""One request and its answer, as the middleware and the routes share it.

Lives in the ASGI scope under one key, so that routes stay plain functions and the middleware
learns what became of the request without parsing responses.
"""

import asyncio
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from igw_runtime.errors import RequestError
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.telemetry.names import OTHER

_SCOPE_KEY: Final = "igw_runtime.exchange"
_WORTH_COMPRESSING: Final = 1024
_GZIP_LEVEL: Final = 1  # the next ones take longer than they save on a cluster's network


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is known of one request."""

    request_id: str
    trace_id: str
    started: float
    error_slug: str = ""
    deadline: Deadline | None = None
    impatient: bool = False
    """The client gave less time than is promised, and that alone is why it got no answer."""
    status: int = 0
    body_read: bool = False
    endpoint: str = OTHER
    model: ServedModel | None = None
    """Which model is to answer, once that is known."""
    span_name: str = ""
    span_attributes: dict[str, str | int] = field(default_factory=dict)


def attach_exchange(scope: Scope, exchange: Exchange) -> None:
    """Put the exchange where routes find it."""
    scope[_SCOPE_KEY] = exchange


def get_exchange(scope: Scope) -> Exchange:
    """Return the exchange that the middleware attached."""
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange


def read_headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers, lower-cased; a repeated one keeps its first value."""
    headers: dict[str, str] = {}
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in pairs:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


async def send_response(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    more: bool = False,
) -> None:
    """Send one complete response; with `more` it is left open, for a caller that lingers."""
    pairs = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in pairs.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def send_json(send: Send, status: int, content: Any) -> None:
    """Send a JSON document."""
    await send_response(send, status, encode_json(content))


async def send_compressed(
    scope: Scope,
    send: Send,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a 200, as gzip where the client asks for it and it is worth the time."""
    headers = dict(headers or {})
    if len(body) >= _WORTH_COMPRESSING and accepts_gzip(read_headers(scope)):
        body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    await send_response(send, 200, body, content_type=content_type, headers=headers)


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Tell whether Accept-Encoding names gzip, and not to forbid it (RFC 9110, 12.5.3)."""
    for entry in headers.get("accept-encoding", "").lower().split(","):
        coding, _, parameters = entry.partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "").rstrip("0.") != "q="
    return False


def encode_json(content: Any) -> bytes:
    """Encode compactly; NaN is refused rather than sent as something that is not JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def problem_body(error: RequestError, request_id: str) -> bytes:
    """Return an RFC 9457 problem document."""
    return encode_json(
        {
            "type": f"urn:inference-gateway:problem:{error.slug}",
            "title": error.title,
            "status": error.status,
            "detail": str(error),
            "request_id": request_id,
        }
    )


async def receive_nothing(receive: Receive) -> None:
    """Return when the client has hung up; anything else it sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
