"""What is wrong with one container: a chain of policies over its state, worst first.

Part of ``diagnosis``, which asks it about every container of every pod.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.judge import prose
from igw_operator.judge.finding import Finding
from igw_operator.judge.pods import Container, Pod, Termination
from igw_operator.judge.reasons import RUNTIME_WORDS, Reason

_WORD = re.compile(rf"^({'|'.join(sorted(RUNTIME_WORDS))}): *(.+)$", re.MULTILINE)
_IMAGE_TROUBLE: Final = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_CANNOT_START: Final = {
    "CreateContainerError",
    "RunContainerError",
    "PreStartHookError",
    "PostStartHookError",
}
_CANNOT_START_ENDS: Final = {"ContainerCannotRun", "StartError"}
# How a container ends when the kubelet stops it: at once, by SIGKILL, by SIGTERM.
_STOPPED_BY_KUBELET: Final = {0, 137, 143}
_EXIT_CODES: Final = {
    126: "not executable",
    127: "command not found",
    134: "SIGABRT",
    137: "SIGKILL",
    139: "SIGSEGV",
    143: "SIGTERM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A pod and what was reported about it."""

    pod: Pod
    events: Sequence[Manifest]

    def messages(self, reason: str) -> list[str]:
        """Messages of the pod's events with that reason, in an order that time does not change."""
        return sorted(
            event.get("message", "")
            for event in self.events
            if event.get("reason") == reason
            and event["involvedObject"].get("name") == self.pod.name
        )

    def probe_answer(self, *probes: str) -> str:
        """What a failing probe got; an HTTP answer says more than a refused connection."""
        found = [
            prose.tidy(message)
            for message in self.messages("Unhealthy")
            if message.startswith(probes)
        ]
        return min(found, key=lambda text: "statuscode" not in text, default="")


def check_container(suspect: Suspect, container: Container) -> Finding | None:
    """What is wrong with the container, or None."""
    return _check_waiting(suspect, container) or _check_end(suspect, container)


def _check_waiting(suspect: Suspect, container: Container) -> Finding | None:
    """A container that was never made."""
    name, pod = container.name, suspect.pod
    if container.waiting_reason in _IMAGE_TROUBLE:
        cause = _pull_failure(suspect, container)
        reason = Reason.IMAGE_PULL_FAILED
        text = f"Pod {pod.name} cannot pull image {container.image}: {cause}"
    elif container.waiting_reason == "CreateContainerConfigError":
        reason = Reason.CONTAINER_CONFIG_ERROR
        text = f"Container {name} of pod {pod.name}: {prose.tidy(container.waiting_message)}"
    elif container.waiting_reason in _CANNOT_START:
        reason = Reason.CONTAINER_CANNOT_START
        text = f"Container {name} of pod {pod.name}: {prose.tidy(container.waiting_message)}"
    else:
        return None
    return Finding(reason=reason, text=text, command=pod.describe)


def _pull_failure(suspect: Suspect, container: Container) -> str:
    """The registry's words. While the kubelet backs off, only its events may have them."""
    told = [container.waiting_message, *suspect.messages("Failed")]
    causes = (prose.tidy(message) for message in told if not message.startswith("Error: "))
    fallback = container.waiting_reason.removesuffix("BackOff")
    return next((cause for cause in causes if cause), fallback)


def _check_end(suspect: Suspect, container: Container) -> Finding | None:
    """A container that ended, and has not been ready since."""
    end = container.termination
    if end is None:
        return None
    reason, text = (
        _last_words(end)
        or _killed(suspect, container, end)
        or _rejected(container, end)
        or _crash(end)
    )
    return Finding(
        reason=reason,
        text=f"Container {container.name} of pod {suspect.pod.name} {text}",
        # An init container that has failed is not always there a second time.
        command=f"{suspect.pod.logs(container)}{'' if container.is_init else ' --previous'}",
    )


def _last_words(end: Termination) -> tuple[Reason, str] | None:
    """The runtime's own reason; it says more than its exit code."""
    words = _WORD.findall(end.message)
    if not words:
        return None
    reason, text = words[-1]
    return Reason(reason), f"exited with code {end.exit_code}: {prose.tidy(text)}"


def _killed(suspect: Suspect, container: Container, end: Termination) -> tuple[Reason, str] | None:
    """Somebody else ended it, or never let it start."""
    if end.reason == "OOMKilled":
        limit = f" ({container.memory_limit})" if container.memory_limit else ""
        # The collector's limit is not the owner's to set.
        is_collector = container.name == conventions.CONTAINER_COLLECTOR
        advice = "" if is_collector else "; raise spec.resources.limits.memory"
        return Reason.OUT_OF_MEMORY, f"was killed at its memory limit{limit}{advice}"
    if end.reason in _CANNOT_START_ENDS:
        return Reason.CONTAINER_CANNOT_START, f"cannot start: {prose.tidy(end.message)}"
    answer = suspect.probe_answer("Liveness", "Startup")
    if end.exit_code in _STOPPED_BY_KUBELET and answer:
        return Reason.PROBE_FAILING, f"was restarted by the kubelet: {answer}"
    return None


def _rejected(container: Container, end: Termination) -> tuple[Reason, str] | None:
    """The collector's check: all of its words, because the last line alone names no part."""
    if not (container.is_init and container.name == conventions.CONTAINER_COLLECTOR_CHECK):
        return None
    words = prose.words(end.message).removeprefix("Error: ")
    text = f"refuses the configuration: {words}" if words else f"exited with code {end.exit_code}"
    return Reason.COLLECTOR_CONFIG_REJECTED, text


def _crash(end: Termination) -> tuple[Reason, str]:
    meaning = f" ({_EXIT_CODES[end.exit_code]})" if end.exit_code in _EXIT_CODES else ""
    line = prose.last_line(end.message)
    return (
        Reason.CRASH_LOOP,
        f"exited with code {end.exit_code}{meaning}" + (f": {line}" if line else ""),
    )
