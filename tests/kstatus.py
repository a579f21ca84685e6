"""What kstatus says of an object: the rules by which Flux, Argo CD and kpt wait.

Written from its rules, for the kinds that the operator makes:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/generic.go
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/core.go
Where versions differ about an object that only has a Ready condition, the newer rule is taken:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Manifest = Mapping[str, Any]


class KStatus(StrEnum):
    """The answers that concern us."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def kstatus(manifest: Manifest) -> KStatus:
    """The object's status by kstatus's own rules."""
    generic = _check_generic(manifest)
    if generic is not None:
        return generic
    if manifest.get("kind") == "Deployment":
        return _check_deployment(manifest)
    if manifest.get("kind") == "Service":
        return _check_service(manifest)
    ready = _condition(manifest, "Ready")
    if ready:
        return KStatus.CURRENT if ready["status"] == "True" else KStatus.IN_PROGRESS
    return KStatus.CURRENT


def _check_generic(manifest: Manifest) -> KStatus | None:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return KStatus.TERMINATING
    # An object that does not say which generation it speaks of is believed.
    generation = metadata.get("generation")
    if generation is not None and status.get("observedGeneration", generation) != generation:
        return KStatus.IN_PROGRESS
    for condition in status.get("conditions") or ():
        if condition["status"] == "True" and condition["type"] == "Reconciling":
            return KStatus.IN_PROGRESS
        if condition["status"] == "True" and condition["type"] == "Stalled":
            return KStatus.FAILED
    return None


def _check_deployment(manifest: Manifest) -> KStatus:
    progressing = _condition(manifest, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return KStatus.FAILED
    status = manifest.get("status") or {}
    wanted = manifest["spec"].get("replicas", 1)
    replicas, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    available, ready = status.get("availableReplicas", 0), status.get("readyReplicas", 0)
    is_complete = (
        replicas == wanted and updated >= wanted and available >= updated and ready >= wanted
    )
    has_progressed = "progressDeadlineSeconds" not in manifest["spec"] or (
        progressing.get("status") == "True"
        and progressing.get("reason") == "NewReplicaSetAvailable"
    )
    is_available = _condition(manifest, "Available").get("status") == "True"
    is_current = is_complete and has_progressed and is_available
    return KStatus.CURRENT if is_current else KStatus.IN_PROGRESS


def _check_service(manifest: Manifest) -> KStatus:
    spec = manifest["spec"]
    is_waiting = spec.get("type") == "LoadBalancer" and not spec.get("clusterIP")
    return KStatus.IN_PROGRESS if is_waiting else KStatus.CURRENT


def _condition(manifest: Manifest, kind: str) -> Manifest:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return next((it for it in conditions if it["type"] == kind), {})


SAYS = {
    KStatus.CURRENT: "Ready",
    KStatus.FAILED: "Stalled",
    KStatus.IN_PROGRESS: "Reconciling",
}
"""The one condition that is True of a gateway where kstatus says so."""


def true_conditions(manifest: Manifest) -> list[str]:
    """Which of the three are True of a gateway."""
    return [kind for kind in SAYS.values() if _condition(manifest, kind).get("status") == "True"]
