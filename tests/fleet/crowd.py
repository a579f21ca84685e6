"""A client for thousands of gateways: many requests at a time, and a watch that keeps the time.

The bare opposite of the operator: it knows no diff, no cache and no queue, and so is what the
operator's speed is measured against.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

import aiohttp

from igw_operator import kinds
from igw_operator.kinds import Resource
from integration.cluster import Manifest, RefusedError, path_of
from localnode.controlplane import ControlPlane

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

CONCURRENCY: Final = 16
"""As many as the operator has workers."""
_PAGE: Final = 500
_LINE_BYTES: Final = 4 * 1024 * 1024
_APPLY: Final = "application/apply-patch+yaml"


class Crowd:
    """An administrator with sixteen hands; an asynchronous context manager."""

    def __init__(self, plane: ControlPlane) -> None:
        self._url = plane.url
        self._ssl = ssl.create_default_context(cafile=str(plane.ca_file))
        self._headers = {"Authorization": f"Bearer {plane.admin_token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(limit=2 * CONCURRENCY, ssl=self._ssl),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=60),
            read_bufsize=_LINE_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    @property
    def _http(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        **query: str,
    ) -> Manifest:
        """Send one request; raise `RefusedError` for any failure."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content}
        async with self._http.request(
            method, path, data=data, headers=headers, params=query
        ) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise RefusedError(answer.status, text.decode(errors="replace")[:500])
            return dict(json.loads(text))

    async def apply(self, manifest: Manifest, manager: str = "tester") -> Manifest:
        """Server-side apply."""
        path = path_of(manifest)
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        return await self.request("PATCH", path, manifest, _APPLY, **query)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> None:
        """Merge-patch one object."""
        path = resource.path(namespace, name)
        await self.request("PATCH", path, patch, "application/merge-patch+json")

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete one object."""
        await self.request("DELETE", resource.path(namespace, name))

    async def list_all(self, resource: Resource, namespace: str = "") -> list[Manifest]:
        """Every object of a kind that carries the kind's label, in pages."""
        items: list[Manifest] = []
        query = {"limit": str(_PAGE), "labelSelector": resource.selector}
        while True:
            page = await self.request("GET", resource.path(namespace), **query)
            items += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return items
            query["continue"] = token

    async def has_any(self, resource: Resource, namespace: str) -> bool:
        """Whether there is an object of a kind that carries the kind's label."""
        query = {"limit": "1", "labelSelector": resource.selector}
        page = await self.request("GET", resource.path(namespace), **query)
        return bool(page["items"])

    @asynccontextmanager
    async def watching_ready(self) -> AsyncIterator[ReadyWatch]:
        """Within the block, know when each gateway becomes Ready."""
        watch = ReadyWatch()
        page = await self.request("GET", kinds.GATEWAY.path(), limit="1")
        task = asyncio.create_task(self._watch(watch, page["metadata"]["resourceVersion"]))
        try:
            yield watch
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, watch: ReadyWatch, version: str) -> None:
        query = {"watch": "true", "resourceVersion": version}
        endless = aiohttp.ClientTimeout(total=None)
        async with self._http.get(kinds.GATEWAY.path(), params=query, timeout=endless) as answer:
            async for line in answer.content:
                watch.take(json.loads(line))


class ReadyWatch:
    """When each gateway became Ready for its present generation, by this process's clock."""

    def __init__(self) -> None:
        self.since: dict[tuple[str, str], float] = {}

    def take(self, event: Manifest) -> None:
        """Take one event of a watch."""
        gateway = event["object"]
        metadata = gateway["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if event["type"] == "DELETED" or not is_ready(gateway):
            self.since.pop(key, None)
        else:
            self.since.setdefault(key, time.time())

    async def wait(self, count: int, timeout_seconds: float) -> float:
        """Until that many are Ready; return when the last one became it."""
        deadline = time.monotonic() + timeout_seconds
        while len(self.since) < count:
            message = f"{len(self.since)} of {count} gateways were Ready in {timeout_seconds:.0f} s"
            assert time.monotonic() < deadline, message
            await asyncio.sleep(0.1)
        return max(self.since.values(), default=time.time())


def is_ready(gateway: Manifest) -> bool:
    """Whether the present generation is Ready."""
    status = gateway.get("status") or {}
    if status.get("observedGeneration") != gateway["metadata"]["generation"]:
        return False
    conditions = status.get("conditions") or ()
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


async def for_each(
    items: Iterable[ItemT],
    act: Callable[[ItemT], Awaitable[ResultT]],
    *,
    concurrency: int = CONCURRENCY,
) -> Sequence[ResultT]:
    """Do it for each, so many at a time."""
    todo = list(enumerate(items))
    results: dict[int, ResultT] = {}
    waiting = iter(todo)

    async def work() -> None:
        for number, item in waiting:
            results[number] = await act(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(todo))):
            group.create_task(work())
    return [results[number] for number in range(len(todo))]
