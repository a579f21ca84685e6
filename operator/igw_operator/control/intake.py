"""Turns what a watch or a LIST tells into cache entries and keys to reconcile.

Called by ``handlers`` and ``world.watches`` for each event and by ``world.resync`` for what it
found. It decides nothing else: whether anything has to be done is for the reconcile to see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from igw_operator import kinds
from igw_operator.api.objects import Manifest, ObjectKey
from igw_operator.control.work_queue import WorkQueue
from igw_operator.kinds import Resource
from igw_operator.world.cache import Cache

_SETTLE_SECONDS: Final = 3.0
_DELETED: Final = "DELETED"


class Intake:
    """Where news arrives."""

    def __init__(self, *, cache: Cache, queue: WorkQueue[ObjectKey]) -> None:
        self._cache = cache
        self._queue = queue
        self._seen: dict[Resource, set[str]] = defaultdict(set)

    def take(
        self,
        resource: Resource,
        event: str | None,
        manifest: Manifest,
        on_gap: Callable[[Resource], None],
    ) -> None:
        """Take one event of a watch; ``event`` is None for an object of its initial list.

        ``on_gap`` is told where kopf's watch of our own kinds has listed again: it had a gap.
        """
        if resource in kinds.OWN:
            self._notice_gap(resource, event, manifest, on_gap)
        if event == _DELETED:
            before: Manifest | None = manifest
            is_news = self._cache.remove(resource, manifest)
        else:
            before = self._before(resource, manifest)
            is_news = self._cache.put(resource, manifest)
        if is_news and (event == _DELETED or _matters(resource, before, manifest)):
            self._enqueue(resource, manifest)

    def remember(self, resource: Resource, manifest: Manifest) -> bool:
        """Take the answer to a write of our own; say whether it was news."""
        is_news = self._cache.put(resource, manifest)
        if is_news and resource is kinds.GATEWAY:
            self._enqueue_runtimes()
        return is_news

    def found(self, resource: Resource, gateways: Sequence[ObjectKey], *, spread: float) -> None:
        """Take what a LIST found, and have everything of our own looked at within ``spread`` s."""
        for gateway in gateways:
            self._queue.add(gateway)
        if resource in kinds.OWN:
            self.enqueue_all(spread_seconds=spread)

    def enqueue_all(self, *, spread_seconds: float = 0.0) -> None:
        """Have every gateway and runtime looked at, spread evenly over a while."""
        keys = [*self._cache.keys(kinds.RUNTIME), *self._cache.keys(kinds.GATEWAY)]
        for number, key in enumerate(keys):
            self._queue.add_after(key, spread_seconds * number / len(keys))

    def _enqueue_runtimes(self) -> None:
        # Their rollouts follow what gateways report; a thousand reports make it one pass.
        for runtime in self._cache.keys(kinds.RUNTIME):
            self._queue.add_after(runtime, _SETTLE_SECONDS)

    def _notice_gap(
        self,
        resource: Resource,
        event: str | None,
        manifest: Manifest,
        on_gap: Callable[[Resource], None],
    ) -> None:
        uid, seen = manifest["metadata"].get("uid", ""), self._seen[resource]
        if event == _DELETED:
            seen.discard(uid)
            return
        if event is None and uid in seen:
            on_gap(resource)
        seen.add(uid)

    def _before(self, resource: Resource, manifest: Manifest) -> Manifest | None:
        # Only where the answer may keep us from a reconcile; unpacking costs.
        if resource not in _REPORTED:
            return None
        return self._cache.get(resource, _key_of(manifest))

    def _enqueue(self, resource: Resource, manifest: Manifest) -> None:
        key = _key_of(manifest)
        if resource is kinds.GATEWAY:
            self._queue.add(key)
            self._enqueue_runtimes()
        elif resource is kinds.RUNTIME:
            # A mark as default that comes or goes concerns those that name no runtime.
            for runtime in self._cache.keys(kinds.RUNTIME):
                self._queue.add(runtime)
            self._queue.add(key)
            for gateway in self._cache.fleet.keys_on(key.name, is_default=True):
                self._queue.add(gateway)
        else:
            for gateway in self._cache.gateways_of(resource, manifest):
                self._queue.add(gateway)


def _key_of(manifest: Mapping[str, Any]) -> ObjectKey:
    metadata = manifest["metadata"]
    return ObjectKey(metadata.get("namespace") or "", metadata["name"])


def _matters(resource: Resource, before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Whether a change is one that a reconcile could see."""
    report = _REPORTED.get(resource)
    if report is None or before is None:
        return True
    return bool(report(before) != report(now))


def _report_autoscaler(manifest: Mapping[str, Any]) -> Any:
    """Leave out the metric values of the moment, which change all the time."""
    status = manifest.get("status") or {}
    # Of a metric that cannot be read the type is empty.
    read = [metric.get("type") for metric in status.get("currentMetrics") or ()]
    desired = status.get("desiredReplicas")
    return _identity(manifest), manifest.get("spec"), desired, read, _conditions(status)


def _report_scaled_object(manifest: Mapping[str, Any]) -> Any:
    """Leave out when KEDA last saw it active."""
    status = manifest.get("status") or {}
    messages = [it.get("message") for it in status.get("conditions") or ()]
    name = status.get("hpaName")
    return _identity(manifest), manifest.get("spec"), name, _conditions(status), messages


def _conditions(status: Mapping[str, Any]) -> Any:
    return [
        (it.get("type"), it.get("status"), it.get("reason"))
        for it in status.get("conditions") or ()
    ]


def _report_runtime(manifest: Mapping[str, Any]) -> Any:
    """Leave out the status, which we write ourselves."""
    return _identity(manifest), manifest.get("spec")


def _report_parent(manifest: Mapping[str, Any]) -> Any:
    """Leave out the count of attached routes: each route of a fleet would wake all others."""
    status = manifest.get("status") or {}
    conditions = [(it.get("type"), it.get("status")) for it in status.get("conditions") or ()]
    return _identity(manifest), manifest.get("spec"), status.get("addresses"), conditions


def _identity(manifest: Mapping[str, Any]) -> Any:
    metadata = manifest["metadata"]
    names = ("uid", "labels", "annotations", "ownerReferences", "deletionTimestamp")
    return [metadata.get(name) for name in names]


_REPORTED: Final = {
    kinds.AUTOSCALER: _report_autoscaler,
    kinds.SCALED_OBJECT: _report_scaled_object,
    kinds.RUNTIME: _report_runtime,
    kinds.PARENT_GATEWAY: _report_parent,
}
