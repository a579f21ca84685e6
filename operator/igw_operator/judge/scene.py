"""A Snapshot with its workloads parsed: the input of every policy behind a condition.

Built once per judgement. What is a matter of the whole gateway lives here: which child
serves which concern, and whether a live child is the one that was applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.judge.snapshot import ApplyFailure, Snapshot
from igw_operator.judge.workload import Workload, parse_workload
from igw_operator.plan.diff import diff, stamp
from igw_operator.plan.otel_collector import KIND as OTEL_COLLECTOR

# Kinds whose status is evidence for a condition.
_READ_KINDS: Final = {
    "Deployment",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "HTTPRoute",
    OTEL_COLLECTOR,
}


class Concern(StrEnum):
    """What a child is for: each concern has a condition of its own."""

    SERVING = "serving"
    ROUTING = "routing"
    SCALING = "scaling"
    MONITORING = "monitoring"
    TELEMETRY = "telemetry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One gateway, ready to be judged."""

    snapshot: Snapshot
    now: datetime
    namespace: str
    name: str
    uid: str
    generation: int
    server: Workload | None
    collector: Workload | None
    stale: Sequence[tuple[str, str]]
    """Kind and name of each desired child that is missing, or not live as it was applied."""

    def child_name(self, suffix: str = "") -> str:
        """Name of a child object; see `conventions.child_name`."""
        return conventions.child_name(self.name, suffix)

    def child(self, kind: str, suffix: str = "") -> Manifest | None:
        """The live child, if it exists."""
        return self.snapshot.children.get((kind, self.child_name(suffix)))

    def failures_of(self, concern: Concern) -> list[ApplyFailure]:
        """Children of the concern that could not be written."""
        return [it for it in self.snapshot.failures if self._concern(it.kind, it.name) is concern]

    def stale_of(self, concern: Concern) -> list[tuple[str, str]]:
        """Children of the concern that are not yet seen as they were applied."""
        return [(kind, name) for kind, name in self.stale if self._concern(kind, name) is concern]

    def _concern(self, kind: str, name: str) -> Concern:
        collector = self.child_name("collector")
        # Its ConfigMaps are named by what is in them, see `conventions.content_name`.
        if name == collector or name.startswith(f"{collector}-") or kind == OTEL_COLLECTOR:
            return Concern.TELEMETRY
        if kind in {"ServiceMonitor", "PrometheusRule"} or name == self.child_name("metrics"):
            return Concern.MONITORING
        if kind == "HTTPRoute":
            return Concern.ROUTING
        if kind in {"HorizontalPodAutoscaler", "ScaledObject"}:
            return Concern.SCALING
        return Concern.SERVING


def build_scene(snapshot: Snapshot, now: datetime) -> Scene:
    """The snapshot's scene; objects that belong to somebody else are left out of it."""
    foreign = {(it.kind, it.name) for it in snapshot.failures if it.foreign}
    children = {key: child for key, child in snapshot.children.items() if key not in foreign}
    snapshot = replace(snapshot, children=children)
    metadata = snapshot.manifest["metadata"]
    name: str = metadata["name"]
    return Scene(
        snapshot=snapshot,
        now=now,
        namespace=metadata.get("namespace", "default"),
        name=name,
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        server=parse_workload(snapshot, conventions.child_name(name)),
        collector=parse_workload(snapshot, conventions.child_name(name, "collector")),
        stale=tuple(_find_stale(snapshot)),
    )


def _find_stale(snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    """A cached child may be older than the apply that was just answered; it proves nothing.

    That matters where a status is read off the child. Of the others it is enough that they
    exist: an apply that did not fail is the proof, and failures are judged before.
    """
    gateway = snapshot.gateway
    if gateway is None:
        return
    for desired in snapshot.desired:
        key = (desired["kind"], desired["metadata"]["name"])
        live = snapshot.children.get(key)
        if live is None or (key[0] in _READ_KINDS and _is_older(live, desired, gateway)):
            yield key


def _is_older(live: Manifest, desired: Manifest, gateway: Gateway) -> bool:
    stamps = desired["metadata"].get("annotations") or {}
    if conventions.ANNOTATION_APPLIED_HASH not in stamps:
        desired = stamp(desired, gateway)
    return bool(diff(desired, live, gateway.uid))
