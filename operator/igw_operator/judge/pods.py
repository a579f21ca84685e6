"""Pods, containers and conditions as the cluster reports them, typed.

`workload` parses them, ``diagnosis`` reads them. Nothing is judged here, but one choice is
made: a container's *last* termination counts as long as the container is not ready again,
so that a crash loop looks the same in each of its three phases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from igw_operator.api.objects import Manifest

_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCondition:
    """A condition that somebody else wrote."""

    status: str
    reason: str = ""
    message: str = ""
    since: datetime = _LONG_AGO


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How a container last ended."""

    exit_code: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container's state; exactly one of waiting, running_since and a termination is usual."""

    name: str
    image: str
    is_init: bool
    ready: bool
    started: bool
    waiting_reason: str
    waiting_message: str
    running_since: datetime | None
    termination: Termination | None
    memory_limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod."""

    namespace: str
    name: str
    created: datetime
    node: str
    phase: str
    reason: str
    message: str
    conditions: Mapping[str, ObservedCondition]
    containers: Sequence[Container]

    @property
    def describe(self) -> str:
        """The command that shows the pod."""
        return f"kubectl describe pod {self.name} -n {self.namespace}"

    def logs(self, container: Container) -> str:
        """The command that shows the container's log."""
        return f"kubectl logs {self.name} -c {container.name} -n {self.namespace}"


def parse_conditions(manifest: Mapping[str, Any]) -> dict[str, ObservedCondition]:
    """The object's status.conditions by type."""
    return {
        entry["type"]: ObservedCondition(
            status=entry["status"],
            reason=entry.get("reason") or "",
            message=entry.get("message") or "",
            since=_parse_time(entry.get("lastTransitionTime")),
        )
        for entry in (manifest.get("status") or {}).get("conditions") or ()
    }


def parse_pod(manifest: Manifest) -> Pod:
    """The typed pod; init containers come first."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    declared = {
        container["name"]: container
        for container in (*spec.get("initContainers", ()), *spec.get("containers", ()))
    }
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        created=_parse_time(metadata.get("creationTimestamp")),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        conditions=parse_conditions(manifest),
        containers=tuple(
            _parse_container(entry, declared.get(entry["name"], {}), is_init=is_init)
            for field, is_init in (("initContainerStatuses", True), ("containerStatuses", False))
            for entry in status.get(field) or ()
        ),
    )


def _parse_container(
    status: Mapping[str, Any], declared: Mapping[str, Any], *, is_init: bool
) -> Container:
    state = status.get("state") or {}
    waiting, running = state.get("waiting") or {}, state.get("running")
    return Container(
        name=status["name"],
        image=declared.get("image") or status.get("image", ""),
        is_init=is_init,
        ready=status.get("ready", False),
        # Absent without a startup probe on old kubelets; then running is started.
        started=status.get("started", running is not None) is True,
        waiting_reason=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        running_since=None if running is None else _parse_time(running.get("startedAt")),
        termination=_parse_termination(status),
        memory_limit=declared.get("resources", {}).get("limits", {}).get("memory", ""),
    )


def _parse_termination(status: Mapping[str, Any]) -> Termination | None:
    now = (status.get("state") or {}).get("terminated")
    ended = now or (status.get("lastState") or {}).get("terminated")
    if not ended or status.get("ready", False):
        return None
    return Termination(
        exit_code=ended.get("exitCode", 0),
        reason=ended.get("reason") or "",
        message=ended.get("message") or "",
    )


def _parse_time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else _LONG_AGO
