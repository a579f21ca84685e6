"""LISTs each kind anew and makes the cache equal to it: at start, now and then, after a gap.

A watch that lists again after a gap never says what vanished in it, so this is the only way
to learn of a missed deletion. What a later LIST finds that no watch had told is
counted: the number should stay at zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from igw_operator import kinds
from igw_operator.api.objects import ObjectKey
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.metrics import Metrics
from igw_operator.world.cache import Cache, Discrepancies
from igw_operator.world.client import ApiClient

_JITTER: Final = 0.1
_GRACE_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 5.0
_NOT_SERVED: Final = 404
_FORBIDDEN: Final = 403
_GONE: Final = 410
_ATTEMPTS: Final = 3
# A page is a few MB of JSON and ten times that as objects; all kinds at once would set the peak.
_AT_ONCE: Final = 2

_log = structlog.get_logger(__name__)


class Resync:
    """The schedule of LISTs, one line per kind."""

    def __init__(
        self,
        *,
        api: ApiClient,
        cache: Cache,
        metrics: Metrics,
        interval_seconds: float,
        clock: Callable[[], float],
        random: Callable[[], float],
        on_found: Callable[[Resource, Sequence[ObjectKey]], None],
    ) -> None:
        self._api = api
        self._cache = cache
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._random = random
        self._on_found = on_found
        self._done_at: dict[Resource, float] = {}
        self._versions: dict[Resource, int] = {}
        self._hints = {resource: asyncio.Event() for resource in kinds.WATCHED}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def prime(self) -> None:
        """Fill the cache; returns when every kind has been listed, however long that takes."""
        async with asyncio.TaskGroup() as group:
            for resource in kinds.WATCHED:
                group.create_task(self._prime(resource), name=f"prime {resource.plural}")

    async def run(self) -> None:
        """List every kind again and again, each with its own jitter."""
        async with asyncio.TaskGroup() as group:
            for resource in kinds.WATCHED:
                group.create_task(self._repeat(resource), name=f"resync {resource.plural}")

    def hint(self, resource: Resource) -> None:
        """Ask for a LIST soon: the watch of this kind had a gap."""
        self._hints[resource].set()

    def oldest_seconds(self) -> float:
        """Time since the kind that waits longest was last listed."""
        now = self._clock()
        return max((now - done for done in list(self._done_at.values())), default=0.0)

    async def _prime(self, resource: Resource) -> None:
        while True:
            try:
                async with self._turns:
                    await self._list(resource)
            except ApiError as error:
                if error.status == _FORBIDDEN:
                    # Blind for one kind, not for all: each child is then looked up by name.
                    _log.warning("Not allowed to list", kind=resource.kind, error=str(error))
                    return
                _log.warning("Could not list", kind=resource.kind, error=str(error))
                await asyncio.sleep(max(_RETRY_SECONDS, error.retry_after_seconds or 0.0))
            else:
                return

    async def _repeat(self, resource: Resource) -> None:
        hint = self._hints[resource]
        pause = self._next_pause()
        while True:
            try:
                async with asyncio.timeout(pause):
                    await hint.wait()
            except TimeoutError:
                pass
            hint.clear()
            pause = self._next_pause()
            try:
                found = await self._list(resource, grace_seconds=_GRACE_SECONDS)
            except ApiError as error:
                _log.warning("Could not list", kind=resource.kind, error=str(error))
                pause = min(pause, _RETRY_SECONDS * (1 + self._random()))
                pause = max(pause, error.retry_after_seconds or 0.0)
                continue
            self._report(resource, found)

    async def relist(self, resource: Resource) -> int:
        """List a kind whose watch has lost its place; return the version, 0 without an API.

        Raises:
            ApiError: a page could not be had.
        """
        self._report(resource, await self._list(resource))
        return self.listed_version(resource)

    def listed_version(self, resource: Resource) -> int:
        """The version of a kind's last LIST; 0: there was none."""
        return self._versions.get(resource, 0)

    async def _list(self, resource: Resource, grace_seconds: float = 0.0) -> Discrepancies:
        for _ in range(_ATTEMPTS):
            try:
                return await self._replace(resource, grace_seconds)
            except ApiError as error:
                if error.status == _NOT_SERVED and resource.optional:
                    self._cache.drop_kind(resource)
                    self._versions.pop(resource, None)
                    self._done_at[resource] = self._clock()
                    return Discrepancies()
                if error.status != _GONE:  # the continue token outlived its snapshot
                    raise
        message = f"the list of {resource.plural} changes faster than it can be read"
        raise ApiError(message, status=_GONE, reason="Expired")

    async def _replace(self, resource: Resource, grace_seconds: float) -> Discrepancies:
        replacement = self._cache.replacement(resource)
        version = 0
        async for page in self._api.fetch_pages(resource):
            # What is on its way through the watch right now is no discrepancy.
            await asyncio.sleep(grace_seconds)
            replacement.add(page.items)
            version = page.resource_version
        self._done_at[resource] = self._clock()
        self._versions[resource] = version
        return replacement.finish(version)

    def _report(self, resource: Resource, found: Discrepancies) -> None:
        counts = {
            "appeared": found.appeared,
            "changed": found.changed,
            "vanished": found.vanished,
        }
        for what, count in counts.items():
            self._metrics.resync_discrepancies.labels(resource.kind, what).inc(count)
        if any(counts.values()):
            _log.warning("Found what no watch had told", kind=resource.kind, **counts)
        self._on_found(resource, self._cache.gateways_named(found.affected))

    def _next_pause(self) -> float:
        return self._interval_seconds * (1 + _JITTER * (2 * self._random() - 1))
