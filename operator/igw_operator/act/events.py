"""Posts Kubernetes Events about gateways: on transitions, once, and never too many.

The reconciler hands drafts in and goes on; `run` posts them in the background. A draft that
repeats within the hour raises the count of the first. What is over the rate is dropped and
counted: events are a courtesy, the truth is in the conditions.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from igw_operator import conventions
from igw_operator.act.api import MERGE_PATCH, Api
from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError
from igw_operator.metrics import Metrics, Written

_PATH: Final = "/apis/events.k8s.io/v1/namespaces"
_NOTE_LENGTH: Final = 1024
_WAITING: Final = 500
_BURST: Final = 25.0
_PER_SECOND: Final = 5.0
_KNOWN: Final = 5000
_EXISTS: Final = 409
_NOT_FOUND: Final = 404

_log = structlog.get_logger(__name__)


class Draft(Protocol):
    """An event before it has a place and a time; `judge.events.EventDraft` is one."""

    @property
    def type(self) -> str:
        """Return Normal or Warning."""
        ...

    @property
    def reason(self) -> str:
        """Return a CamelCase word."""
        ...

    @property
    def note(self) -> str:
        """Return the sentence."""
        ...


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    namespace: str
    body: Manifest


class EventRecorder:
    """Takes drafts, posts events."""

    def __init__(
        self,
        *,
        api: Api,
        metrics: Metrics,
        instance: str,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._metrics = metrics
        self._instance = instance
        self._now = now
        self._clock = clock
        self._waiting: asyncio.Queue[_Event] = asyncio.Queue(maxsize=_WAITING)
        self._counts: dict[str, int] = {}
        self._tokens = _BURST
        self._filled_at = clock()

    def record(self, regarding: Mapping[str, Any], draft: Draft) -> None:
        """Have an event posted about an object, soon or not at all."""
        event = self._build(regarding, draft)
        if not self._take_token() or self._waiting.full():
            self._metrics.events_dropped.inc()
            return
        self._waiting.put_nowait(event)

    async def run(self) -> None:
        """Post what was recorded, one after the other."""
        while True:
            event = await self._waiting.get()
            try:
                await self._post(event)
            except ApiError as error:
                _log.warning("Could not post an event", name=event.name, error=str(error))

    async def _post(self, event: _Event) -> None:
        count = self._counts.pop(event.name, 0) + 1
        self._counts[event.name] = count  # to the end: oldest first
        while len(self._counts) > _KNOWN:
            del self._counts[next(iter(self._counts))]
        if count == 1 and await self._create(event):
            return
        series = {"count": max(count, 2), "lastObservedTime": event.body["eventTime"]}
        try:
            await self._api.request(
                "PATCH",
                f"{_PATH}/{event.namespace}/events/{event.name}",
                body={"series": series},
                content_type=MERGE_PATCH,
            )
            self._metrics.counted_write("patch", "Event", Written.TRANSITION)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            await self._create(event)  # the first one has expired

    async def _create(self, event: _Event) -> bool:
        try:
            await self._api.request("POST", f"{_PATH}/{event.namespace}/events", body=event.body)
        except ApiError as error:
            if error.status == _EXISTS:
                return False
            raise
        self._metrics.counted_write("create", "Event", Written.TRANSITION)
        return True

    def _build(self, regarding: Mapping[str, Any], draft: Draft) -> _Event:
        metadata = regarding["metadata"]
        # Events about what has no namespace are in this one, by Kubernetes' own rule.
        namespace = metadata.get("namespace") or "default"
        note = draft.note[:_NOTE_LENGTH]
        words = "\0".join((metadata["uid"], draft.type, draft.reason, note))
        digest = hashlib.sha256(words.encode()).hexdigest()[:16]
        name = f"{metadata['name'][:200]}.{digest}"
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": self._now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "type": draft.type,
            "reason": draft.reason,
            "action": "Reconcile",
            "note": note,
            "reportingController": f"{conventions.GROUP}/operator",
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata.get("namespace") or "",
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
        }
        return _Event(name=name, namespace=namespace, body=body)

    def _take_token(self) -> bool:
        now = self._clock()
        self._tokens = min(_BURST, self._tokens + (now - self._filled_at) * _PER_SECOND)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
