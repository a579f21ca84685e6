"""A small summary of every gateway: which runtime it is on, and how it fares.

A rollout looks at all gateways of a runtime again and again; unpacking thousands of objects
each time would cost seconds. `world.cache` keeps this in step with what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from igw_operator.api.objects import ObjectKey
from igw_operator.judge.conditions import ConditionType, conditions_by_type
from igw_operator.judge.finding import Truth
from igw_operator.plan.rollout import Member, rank


@dataclass(frozen=True, slots=True)
class _Entry:
    runtime: str
    """The name in runtimeRef; empty where there is none."""
    is_going: bool
    member: Member


class Fleet:
    """All gateways, by the runtime that they ask for."""

    def __init__(self) -> None:
        self._entries: dict[ObjectKey, _Entry] = {}
        self._judged: set[ObjectKey] = set()

    def put(self, key: ObjectKey, manifest: Mapping[str, Any]) -> None:
        """Take a gateway as it is now."""
        reference = (manifest.get("spec") or {}).get("runtimeRef") or {}
        self._entries[key] = _Entry(
            runtime=reference.get("name") or "",
            is_going="deletionTimestamp" in manifest["metadata"],
            member=summarize(key, manifest),
        )

    def remove(self, key: ObjectKey) -> None:
        """Forget a gateway."""
        self._entries.pop(key, None)
        self._judged.discard(key)

    def mark_judged(self, key: ObjectKey) -> None:
        """Take note that this process has looked at a gateway: its status is no old story."""
        if key in self._entries:
            self._judged.add(key)

    def keys_on(self, runtime: str, *, is_default: bool) -> list[ObjectKey]:
        """The gateways that name a runtime, and with a default those that name none."""
        names = {runtime, ""} if is_default else {runtime}
        return [key for key, entry in self._entries.items() if entry.runtime in names]

    def census(self, runtime: str, *, is_default: bool) -> list[Member]:
        """The same as members of a rollout, without those that are being deleted."""
        members = (
            self._entries[key]
            for key in self.keys_on(runtime, is_default=is_default)
            if not self._entries[key].is_going
        )
        return [
            entry.member
            if entry.member.key in self._judged
            else replace(entry.member, is_current=False)
            for entry in members
        ]


def summarize(key: ObjectKey, manifest: Mapping[str, Any]) -> Member:
    """What a rollout has to know of a gateway."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    conditions = conditions_by_type(status)
    ready = conditions.get(ConditionType.READY) or {}
    runtime = status.get("runtime") or {}
    return Member(
        key=key,
        rank=rank(metadata.get("uid") or ""),
        labels=metadata.get("labels") or {},
        revision=runtime.get("revision") or "",
        is_ready=ready.get("status") == Truth.TRUE,
        reason=ready.get("reason") or "",
        since=ready.get("lastTransitionTime") or "",
        is_stalled=ConditionType.STALLED in conditions,
        is_current=status.get("observedGeneration") == metadata.get("generation"),
        ready_before=bool(runtime.get("readyBefore")),
        served=bool(runtime.get("served")),
    )
