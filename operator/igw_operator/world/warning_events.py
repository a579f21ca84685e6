"""Recent Warning events about a gateway's objects, fetched only where something is wrong.

Events are many and short-lived, so they are not watched. A namespace is asked at most once
in a few seconds, however many of its gateways are in trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import structlog

from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.world.client import ApiClient

_FRESH_SECONDS: Final = 10.0
_LIMIT: Final = 500
_KEPT: Final = 20
_NAMESPACES: Final = 256

_log = structlog.get_logger(__name__)


class WarningEvents:
    """Answers from a small, short-lived memory."""

    def __init__(self, *, api: ApiClient, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._fetched: dict[str, tuple[float, list[Manifest]]] = {}

    async def fetch(self, namespace: str, uids: Collection[str]) -> list[Manifest]:
        """The latest warnings about these objects, newest last; none where they cannot be had."""
        events = await self._fetch_namespace(namespace)
        about = [event for event in events if event["involvedObject"].get("uid") in uids]
        return sorted(about, key=_seen_at)[-_KEPT:]

    async def _fetch_namespace(self, namespace: str) -> list[Manifest]:
        now = self._clock()
        good_until, events = self._fetched.get(namespace, (float("-inf"), []))
        if now < good_until:
            return events
        pause = _FRESH_SECONDS
        query = {"fieldSelector": "type=Warning", "limit": str(_LIMIT)}
        try:
            answer = await self._api.request(
                "GET", f"/api/v1/namespaces/{namespace}/events", query=query
            )
            events = answer.get("items") or []
        except ApiError as error:
            # A diagnosis without events is poorer, not wrong.
            _log.warning("Could not read events", namespace=namespace, error=str(error))
            events, pause = [], max(pause, error.retry_after_seconds or 0.0)
        self._fetched.pop(namespace, None)
        self._fetched[namespace] = (now + pause, events)
        while len(self._fetched) > _NAMESPACES:
            del self._fetched[next(iter(self._fetched))]
        return events


def _seen_at(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
