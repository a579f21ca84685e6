"""Which pods of a gateway are ready, and since when: who should be scraped by now.

A look at all pods of a fleet twice a minute would unpack tens of thousands of objects; this
keeps the little that is asked for. `world.cache` keeps it in step with what it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from igw_operator import conventions
from igw_operator.api.objects import ObjectKey

_SERVER = "igw-runtime"


class Roster:
    """Ready pods of the model servers, by the gateway that their label names."""

    def __init__(self) -> None:
        self._ready: dict[ObjectKey, dict[str, float]] = defaultdict(dict)

    def put(self, gateways: Iterable[ObjectKey], pod: Mapping[str, Any]) -> None:
        """Take a pod as it is now."""
        since = _ready_since(pod)
        for gateway in gateways:
            if since is None:
                self.remove(gateway, pod["metadata"]["name"])
            else:
                self._ready[gateway][pod["metadata"]["name"]] = since

    def remove(self, gateway: ObjectKey, name: str) -> None:
        """Forget a pod."""
        pods = self._ready.get(gateway)
        if pods is None:
            return
        pods.pop(name, None)
        if not pods:
            del self._ready[gateway]

    def settled(self, gateway: ObjectKey, since: datetime) -> list[str]:
        """Names of the pods that have been ready since then or longer; in order."""
        latest = since.timestamp()
        pods = self._ready.get(gateway, {})
        return sorted(name for name, ready in pods.items() if ready <= latest)


def _ready_since(pod: Mapping[str, Any]) -> float | None:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(conventions.LABEL_NAME) != _SERVER or "deletionTimestamp" in metadata:
        return None
    conditions = (pod.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if (condition.get("type"), condition.get("status")) == ("Ready", "True"):
            since = condition.get("lastTransitionTime")
            return datetime.fromisoformat(since).timestamp() if since else None
    return None
