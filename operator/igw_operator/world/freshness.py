"""Whether a pass knows the latest of its gateway and runtime: asked before it changes anything.

A watch may lag, and after a restart a LIST may come from an API server that is behind: the
cache then asks for yesterday's children. So the first write of a pass is preceded by one GET,
which is never stale. What is newer goes into the cache, and the pass begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from igw_operator import kinds
from igw_operator.api.objects import Manifest, Runtime
from igw_operator.errors import ApiError, StaleViewError
from igw_operator.kinds import Resource
from igw_operator.world.cache import version_of
from igw_operator.world.client import ApiClient

_NOT_FOUND: Final = 404
# A new image concerns thousands of gateways at once; one look at the runtime serves them all.
_RUNTIME_SECONDS: Final = 1.0
# The lease's deadline: who was frozen for longer may have a successor, and looks once more.
_GOOD_SECONDS: Final = 10.0


class Learn(Protocol):
    """Takes an object as if a watch had told of it: what depends on it is queued as well."""

    def __call__(self, resource: Resource, event: str, manifest: Manifest, /) -> object:
        """Keep it, unless something newer is known."""
        ...


class Freshness:
    """Compares what a pass began with to what the API server has."""

    def __init__(self, *, api: ApiClient, learn: Learn, clock: Callable[[], float]) -> None:
        self._api = api
        self._learn = learn
        self._clock = clock
        self._runtimes: dict[str, tuple[float, Manifest]] = {}

    async def confirm(
        self, gateway: Manifest, runtime: Runtime | None, looked_at: float | None
    ) -> float:
        """Look, unless it was done a moment ago; return when it was.

        Raises:
            StaleViewError: see `check`.
            ApiError: see `check`.
        """
        now = self._clock()
        if looked_at is not None and now - looked_at < _GOOD_SECONDS:
            return looked_at
        await self.check(gateway, runtime)
        return now

    async def check(self, gateway: Manifest, runtime: Runtime | None) -> None:
        """Return where a pass may act on this copy of a gateway, and on its runtime.

        Raises:
            StaleViewError: there is a newer one, or none; the cache knows it by now.
            ApiError: the API server refused, or did not answer.
        """
        self._compare(kinds.GATEWAY, gateway, await self._fetch(kinds.GATEWAY, gateway))
        if runtime is not None:
            metadata = {"name": runtime.name, "resourceVersion": runtime.resource_version}
            known = {"metadata": metadata}
            self._compare(kinds.RUNTIME, known, await self._fetch_runtime(known))

    async def _fetch_runtime(self, known: Manifest) -> Manifest:
        now, name = self._clock(), known["metadata"]["name"]
        seen_at, live = self._runtimes.get(name, (float("-inf"), known))
        if now - seen_at >= _RUNTIME_SECONDS:
            live = await self._fetch(kinds.RUNTIME, known)
            self._runtimes[name] = (now, live)
        return live

    async def _fetch(self, resource: Resource, known: Manifest) -> Manifest:
        metadata = known["metadata"]
        path = resource.path(metadata.get("namespace") or "", metadata["name"])
        try:
            return await self._api.request("GET", path)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            self._learn(resource, "DELETED", known)
            message = f"{resource.kind} {metadata['name']} is gone"
            raise StaleViewError(message) from error

    def _compare(self, resource: Resource, known: Manifest, live: Manifest) -> None:
        if version_of(live) > version_of(known):
            self._learn(resource, "MODIFIED", live)
            message = f"{resource.kind} {live['metadata']['name']} has changed"
            raise StaleViewError(message)
