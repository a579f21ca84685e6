"""The API server's client: one request at a time, raw dicts, short timeouts, typed failures.

``world`` lists with it, ``act`` writes with it (through its own protocol), the lease lives
on it. Nothing is retried here but what cannot have reached anybody: a refused token and a
kept-alive connection that turned out dead. Everything else is the work queue's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.world.connection import Connection

_JSON: Final = "application/json"
_PAGE: Final = 250
_CONNECT_SECONDS: Final = 5.0
_LIST_SECONDS: Final = 60.0
# More than all workers, slow ones and LISTs can use: the lease must never wait for one.
_CONNECTIONS: Final = 256
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_FAILED: Final = 400
_MESSAGE_LENGTH: Final = 1024
_ERROR: Final = "ERROR"
_WATCH_SECONDS: Final = 300
# Bookmarks come every minute.
_SILENCE_SECONDS: Final = 90.0
# aiohttp refuses a line of more than twice that; an object of etcd has at most 1.5 MiB.
_BUFFER_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a LIST: objects, and the version of the collection that all pages show."""

    items: list[Manifest]
    resource_version: int
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: str
    path: str
    query: Mapping[str, str] | None
    data: bytes | None
    content_type: str
    timeout: aiohttp.ClientTimeout


def _ignore(_method: str, _status: int) -> None:
    """Count nothing."""


class ApiClient:
    """A pool of connections to one API server; an asynchronous context manager."""

    def __init__(
        self,
        connection: Connection,
        *,
        user_agent: str,
        timeout_seconds: float = 15.0,
        count_error: Callable[[str, int], None] = _ignore,
    ) -> None:
        self._connection = connection
        self._user_agent = user_agent
        self._timeout_seconds = timeout_seconds
        self._count_error = count_error
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS, ssl=self._connection.endpoint.ssl_context()
        )
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": self._user_agent}
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        timeout_seconds: float | None = None,
    ) -> Manifest:
        """Send one request and return the decoded answer.

        Raises:
            ApiError: the server refused, or did not answer (status 0).
        """
        call = _Call(
            method=method,
            path=path,
            query=query,
            # An apply is read as YAML, which knows no surrogate pairs such as \\ud83d\\ude42:
            # what writes such pairs will not do.
            data=None if body is None else orjson.dumps(body),
            content_type=content_type,
            timeout=aiohttp.ClientTimeout(
                total=timeout_seconds or self._timeout_seconds, sock_connect=_CONNECT_SECONDS
            ),
        )
        try:
            return await self._send_twice(call)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            self._count_error(method, 0)
            message = f"{method} {path}: {type(error).__name__} {error}".strip()
            raise ApiError(message, status=0, reason=type(error).__name__) from error
        except ApiError as error:
            if (method, error.status) != ("GET", _NOT_FOUND):  # that is an answer, no error
                self._count_error(method, error.status)
            raise

    async def fetch_pages(self, resource: Resource) -> AsyncIterator[Page]:
        """Every object of a kind that concerns us, page by page.

        Raises:
            ApiError: a page could not be had; 410: the list has to be read anew.
        """
        version = 0
        query = {"limit": str(_PAGE)}
        if resource.selector:
            query["labelSelector"] = resource.selector
        while True:
            page = await self.request(
                "GET", resource.path(), query=query, timeout_seconds=_LIST_SECONDS
            )
            # Items of a list do not repeat what the list says once.
            named = {"apiVersion": resource.api_version, "kind": resource.kind}
            version = version or int(page["metadata"].get("resourceVersion") or 0)
            token = page["metadata"].get("continue")
            items = [named | item for item in page.get("items") or []]
            yield Page(items=items, resource_version=version, is_last=not token)
            if not token:
                return
            query["continue"] = token

    async def watch(self, resource: Resource, version: int) -> AsyncIterator[dict[str, Any]]:
        """Each event of a kind after a version, until the server ends the watch.

        Bookmarks are among them: events with nothing but the version that was reached.

        Raises:
            ApiError: the server refused, sent an ERROR event, or nothing at all for too long.
        """
        query = {
            "watch": "true",
            "resourceVersion": str(version),
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        if resource.selector:
            query["labelSelector"] = resource.selector
        call = _Call(
            method="GET",
            path=resource.path(),
            query=query,
            data=None,
            content_type=_JSON,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
            ),
        )
        try:
            async with await self._open(call) as response:
                async for line in response.content:
                    yield _parse_event(call, line)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            message = f"watch of {resource.plural}: {type(error).__name__} {error}".strip()
            raise ApiError(message, status=0, reason=type(error).__name__) from error

    async def _open(self, call: _Call) -> aiohttp.ClientResponse:
        """Begin a watch, with a new token where the old one is refused."""
        for fresh in (False, True):
            response = await self._start(call, fresh=fresh)
            if response.status < _FAILED:
                return response
            async with response:
                text = await response.read()
            if response.status != _UNAUTHORIZED:
                break
        raise _parse_failure(call, response.status, response.headers, text)

    async def _send_twice(self, call: _Call) -> Manifest:
        """Once more where the first attempt cannot have had any effect."""
        try:
            return await self._send(call, fresh=False)
        except aiohttp.ServerDisconnectedError:
            # The server closed a kept-alive connection just as we took it. All that we send
            # may be repeated, but POST.
            if call.method == "POST":
                raise
        except ApiError as error:
            if error.status != _UNAUTHORIZED:
                raise
        return await self._send(call, fresh=True)

    async def _send(self, call: _Call, *, fresh: bool) -> Manifest:
        async with await self._start(call, fresh=fresh) as response:
            text = await response.read()
            if response.status >= _FAILED:
                raise _parse_failure(call, response.status, response.headers, text)
            return dict(orjson.loads(text)) if text else {}

    async def _start(self, call: _Call, *, fresh: bool) -> aiohttp.ClientResponse:
        if self._session is None:
            message = "the client is used before it was entered"
            raise RuntimeError(message)
        headers = {"Accept": _JSON}
        if call.data is not None:
            headers["Content-Type"] = call.content_type
        if token := await self._connection.token(fresh=fresh):
            headers["Authorization"] = f"Bearer {token}"
        return await self._session.request(
            call.method,
            self._connection.endpoint.server + call.path,
            params=call.query,
            data=call.data,
            headers=headers,
            timeout=call.timeout,
            read_bufsize=_BUFFER_BYTES,
        )


def _parse_event(call: _Call, line: bytes) -> dict[str, Any]:
    """One line of a watch; an ERROR event is a failure as any other."""
    event: dict[str, Any] = orjson.loads(line)
    if event["type"] != _ERROR:
        return event
    status = event["object"]
    raise ApiError(
        str(status.get("message") or f"an ERROR event of {call.path}")[:_MESSAGE_LENGTH],
        status=int(status.get("code") or 0),
        reason=str(status.get("reason") or ""),
    )


def _parse_failure(call: _Call, status: int, headers: Mapping[str, str], text: bytes) -> ApiError:
    """The error that a Status object (or whatever came instead) stands for."""
    details: Any = {}
    try:
        details = orjson.loads(text)
    except ValueError:
        details = {}
    if not isinstance(details, dict) or details.get("kind") != "Status":
        details = {"message": text[:_MESSAGE_LENGTH].decode(errors="replace").strip()}
    message = details.get("message") or f"{call.method} {call.path} answered {status}"
    retry_after = headers.get("Retry-After", "")
    return ApiError(
        str(message)[:_MESSAGE_LENGTH],
        status=status,
        reason=str(details.get("reason") or ""),
        retry_after_seconds=float(retry_after) if retry_after.isdigit() else None,
    )
