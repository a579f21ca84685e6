"""The API server's client: one request at a time, raw dicts, short timeouts, typed failures.

``world`` lists with it, ``act`` writes with it (through its own protocol), the lease lives
on it. Nothing is retried here but what cannot have reached anybody: a refused token and a
kept-alive connection that turned out dead. Everything else is the work queue's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.world.connection import Connection

_JSON: Final = "application/json"
_PAGE: Final = 500
_CONNECT_SECONDS: Final = 5.0
_LIST_SECONDS: Final = 60.0
# More than all workers, slow ones and LISTs can use: the lease must never wait for one.
_CONNECTIONS: Final = 256
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_GONE: Final = 410
_FAILED: Final = 400
_MESSAGE_LENGTH: Final = 1024
_LIST_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A LIST: the objects, and the version of the collection that they show."""

    items: list[Manifest]
    resource_version: int


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
            data=None if body is None else json.dumps(body).encode(),
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

    async def fetch_all(self, resource: Resource) -> Listing:
        """Every object of a kind that concerns us, in pages.

        Raises:
            ApiError: a page could not be had.
        """
        for _ in range(_LIST_ATTEMPTS):
            try:
                return await self._fetch_pages(resource)
            except ApiError as error:
                if error.status != _GONE:  # the continue token outlived its snapshot
                    raise
        message = f"the list of {resource.plural} changes faster than it can be read"
        raise ApiError(message, status=_GONE, reason="Expired")

    async def _fetch_pages(self, resource: Resource) -> Listing:
        items: list[Manifest] = []
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
            items += [named | item for item in page.get("items") or []]
            version = version or int(page["metadata"].get("resourceVersion") or 0)
            token = page["metadata"].get("continue")
            if not token:
                return Listing(items=items, resource_version=version)
            query["continue"] = token

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
        if self._session is None:
            message = "the client is used before it was entered"
            raise RuntimeError(message)
        headers = {"Accept": _JSON}
        if call.data is not None:
            headers["Content-Type"] = call.content_type
        if token := await self._connection.token(fresh=fresh):
            headers["Authorization"] = f"Bearer {token}"
        async with self._session.request(
            call.method,
            self._connection.endpoint.server + call.path,
            params=call.query,
            data=call.data,
            headers=headers,
            timeout=call.timeout,
        ) as response:
            text = await response.read()
            if response.status >= _FAILED:
                raise _parse_failure(call, response.status, response.headers, text)
            return dict(json.loads(text)) if text else {}


def _parse_failure(call: _Call, status: int, headers: Mapping[str, str], text: bytes) -> ApiError:
    """The error that a Status object (or whatever came instead) stands for."""
    details: Any = {}
    try:
        details = json.loads(text)
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
