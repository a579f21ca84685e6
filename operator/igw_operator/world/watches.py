"""Watches children, pods and replica sets, from the version of a LIST on, for ever.

kopf watches the two kinds of our own. Of the others there are twenty times as many objects,
and kopf lists them once more before it watches, with a task and a memory for each: half a
millisecond and 5 KB where reading the JSON takes a tenth of both (``docs/adr/0016``).

A watch ends after some minutes by design, and sometimes for no good reason; it goes on from
the last version that was seen. Where that is too old (410), the kind is listed anew. The
server sends a bookmark every minute, so a connection that says nothing for longer is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from igw_operator import kinds
from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.world.cache import version_of
from igw_operator.world.client import ApiClient
from igw_operator.world.resync import Resync

FOLLOWED: Final = tuple(it for it in kinds.WATCHED if it not in kinds.OWN)

_BOOKMARK: Final = "BOOKMARK"
_GONE: Final = 410
_NOT_SERVED: Final = 404
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 8.0
_JITTER: Final = 0.2
_APPEAR_SECONDS: Final = 1.0
_LASTING_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Watches:
    """One watch for each kind but our own."""

    def __init__(
        self,
        *,
        api: ApiClient,
        resync: Resync,
        serves: Callable[[Resource], bool],
        on_event: Callable[[Resource, str, Manifest], None],
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._api = api
        self._resync = resync
        self._serves = serves
        self._on_event = on_event
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Watch every kind, from the LISTs of `Resync.prime` on."""
        async with asyncio.TaskGroup() as group:
            for resource in FOLLOWED:
                group.create_task(self._follow(resource), name=f"watch {resource.plural}")

    async def _follow(self, resource: Resource) -> None:
        """Watch one kind; no failure ends it, and none is hammered at."""
        version = self._resync.listed_version(resource)
        failures, told = 0, ""
        while True:
            while not self._serves(resource):
                version = 0
                await asyncio.sleep(_APPEAR_SECONDS)
            began, asked = self._clock(), 0.0
            try:
                version = version or await self._resync.relist(resource)
                if version:
                    async for event in self._api.watch(resource, version):
                        version = self._take(resource, event) or version
                        failures, told = 0, ""
            except ApiError as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("A watch broke off", kind=resource.kind, error=told)
                asked = error.retry_after_seconds or 0.0
                if error.status in {_GONE, _NOT_SERVED}:
                    version = 0
            failures = 0 if self._clock() - began >= _LASTING_SECONDS else failures + 1
            if failures or asked:
                await asyncio.sleep(max(asked, self._choose_pause(failures)))

    def _take(self, resource: Resource, event: dict[str, Any]) -> int:
        """Pass an event on; return the version that it brings the watch to."""
        manifest = event["object"]
        if event["type"] != _BOOKMARK:
            self._on_event(resource, event["type"], manifest)
        return version_of(manifest)

    def _choose_pause(self, failures: int) -> float:
        pause = min(
            _FIRST_PAUSE_SECONDS * 2.0 ** min(max(failures, 1) - 1, 16), _LONGEST_PAUSE_SECONDS
        )
        return pause * (1 + _JITTER * self._random())
