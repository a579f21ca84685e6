"""Who sets ``spec.replicas`` of a Deployment: us, or an autoscaler; and how it changes hands.

With an autoscaler the desired Deployment has no ``replicas``. But a field that only we own
and stop applying falls back to its default, 1
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership).
So we go on applying the live number for as long as we alone own the field, pinned to the
version that it was read from. The autoscaler takes the field over with its first change, and
from then on we leave it out. On the way back the fixed number is applied by force, after the
autoscaler is gone. While one stays (it may not be deleted, or it is somebody else's), the
number is left to it and reported: two writers would start and stop pods for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from igw_operator import conventions, kinds
from igw_operator.api.objects import Manifest

REPLICAS_PATH: Final = "spec.replicas"
_LEAST: Final = {kinds.AUTOSCALER.kind: "minReplicas", kinds.SCALED_OBJECT.kind: "minReplicaCount"}
"""The kinds that scale a Deployment, and their field for the fewest replicas."""


def is_left_to_autoscaler(desired: Mapping[str, Any]) -> bool:
    """Whether a manifest is a Deployment whose replicas somebody else sets."""
    return desired["kind"] == kinds.DEPLOYMENT.kind and "replicas" not in desired["spec"]


def first_replicas(desired: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]) -> int | None:
    """Replicas to create a Deployment with: its autoscaler's minimum, without waiting for it."""
    if not is_left_to_autoscaler(desired):
        return None
    target = desired["metadata"]["name"]
    for sibling in siblings:
        field = _LEAST.get(sibling["kind"])
        if field is not None and sibling["spec"]["scaleTargetRef"]["name"] == target:
            return int(sibling["spec"].get(field, 1))
    return None


def kept_replicas(live: Mapping[str, Any], least: int | None) -> int | None:
    """The replicas to go on applying; None: somebody else owns them.

    ``live`` must come straight from the API server, with its ``managedFields``: a stale
    number would scale the service down. ``least`` lifts a Deployment from zero, where
    autoscaling is off (kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale,
    "Implicit maintenance-mode deactivation").
    """
    owners = {
        entry.get("manager")
        for entry in live["metadata"].get("managedFields") or ()
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }
    if owners != {conventions.FIELD_MANAGER}:
        return None
    return max(int(live["spec"].get("replicas", 1)), least or 0)


def with_replicas(desired: Manifest, replicas: int | None) -> Manifest:
    """A copy that also sets the replicas, where there are any to set."""
    if replicas is None:
        return desired
    return {**desired, "spec": {**desired["spec"], "replicas": replicas}}


def without_replicas(deployment: Manifest) -> Manifest:
    """A copy that leaves the replicas to somebody else."""
    spec = {key: value for key, value in deployment["spec"].items() if key != "replicas"}
    return {**deployment, "spec": spec}


def is_autoscaler(manifest: Mapping[str, Any]) -> bool:
    """Whether an object is one that sets the replicas of a Deployment."""
    return manifest["kind"] in _LEAST


def find_leaving(
    children: Iterable[Manifest], desired: Iterable[Mapping[str, Any]]
) -> Manifest | None:
    """An autoscaler of the gateway that is not desired and still acts, if there is one.

    KEDA keeps a finalizer on a ScaledObject, and the HPA that it made goes only after it, by
    the garbage collector. Two that act on one Deployment would stop each other, or fight.
    """
    wanted = {(it["kind"], it["metadata"]["name"]) for it in desired}
    scalers = [child for child in children if is_autoscaler(child)]
    staying = {
        scaler["metadata"].get("uid")
        for scaler in scalers
        if (scaler["kind"], scaler["metadata"]["name"]) in wanted
    }
    for scaler in sorted(scalers, key=lambda it: str(it["kind"]), reverse=True):
        metadata = scaler["metadata"]
        owners = {owner.get("uid") for owner in metadata.get("ownerReferences") or ()}
        is_wanted = (scaler["kind"], metadata["name"]) in wanted
        if not is_wanted and not owners & staying:
            return scaler
    return None


def find_rival(
    deployment: Mapping[str, Any], autoscalers: Iterable[Mapping[str, Any]]
) -> Manifest | None:
    """The autoscaler that sets the replicas of this Deployment, if one does."""
    target = (kinds.DEPLOYMENT.kind, deployment["metadata"]["name"])
    for autoscaler in autoscalers:
        reference = autoscaler["spec"]["scaleTargetRef"]
        if (reference["kind"], reference["name"]) == target:
            return dict(autoscaler)
    return None
