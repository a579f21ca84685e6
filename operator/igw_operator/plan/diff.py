"""What has to be written: the stamp on what is desired, and its difference from what is live.

Server-side apply comes only after a difference, because even an apply that changes nothing
may write. Nothing differs when (a) everything desired is in the live object, (b) the hash of
what was applied last is the hash of what is desired now, which also sees a field that is *no
longer* desired, and (c) the live object belongs to this gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.prune import prune
from igw_operator.plan.subset import find_misses

_OWNERS_PATH = "metadata.ownerReferences"


class Reason(StrEnum):
    """Why an object has to be written."""

    CREATE = "create"  # there is none
    SPEC = "spec"  # something else is desired than at the last apply
    DRIFT = "drift"  # somebody changed the object


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The difference between a desired and a live object; true where there is one."""

    reason: Reason | None = None
    paths: tuple[str, ...] = ()
    """The desired fields that the live object lacks or has otherwise."""

    def __bool__(self) -> bool:
        return self.reason is not None


def stamp(manifest: Manifest, owner: Gateway) -> Manifest:
    """The object as it is applied: pruned, labelled, owned, and carrying its own hash.

    Without the owner's uid (a gateway from a file) there is no ownerReference: a wrong one
    would have the object deleted as an orphan. What is stamped already is returned as it is.
    """
    if read_hash(manifest):
        return manifest
    metadata = dict(manifest["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), **_build_standard_labels(owner)}
    if owner.uid:
        metadata["ownerReferences"] = [_build_owner_reference(owner)]
    stamped: Manifest = prune(manifest | {"metadata": metadata})
    annotations = stamped["metadata"].get("annotations", {})
    stamped["metadata"]["annotations"] = {
        **annotations,
        conventions.ANNOTATION_APPLIED_HASH: build_digest(stamped),
    }
    return stamped


def restamp(manifest: Manifest, owner: Gateway) -> Manifest:
    """A new stamp for what was changed after it got its first."""
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key != conventions.ANNOTATION_APPLIED_HASH
    }
    return stamp({**manifest, "metadata": metadata}, owner)


def diff(desired: Manifest, live: Manifest | None, owner_uid: str) -> Diff:
    """Whether the stamped object must be applied, and why."""
    if live is None:
        return Diff(reason=Reason.CREATE)
    paths = list(find_misses(desired, live))
    if not _is_controlled_by(live, owner_uid) and _OWNERS_PATH not in paths:
        paths.append(_OWNERS_PATH)
    if read_hash(live) not in {None, read_hash(desired)}:
        return Diff(reason=Reason.SPEC, paths=tuple(paths))
    return Diff(reason=Reason.DRIFT, paths=tuple(paths)) if paths else Diff()


def is_in_place(manifest: Manifest, live: Manifest | None, owner: Gateway) -> bool:
    """Whether a child, as a builder made it, is live as it is."""
    return live is not None and not diff(stamp(manifest, owner), live, owner.uid)


def is_foreign(live: Manifest, owner_uid: str) -> bool:
    """Whether an object of a child's name belongs to somebody else and may not be touched.

    An object without any controller is ours where it carries our marks: its ownerReference
    was stripped, or the gateway was deleted with ``--cascade=orphan`` and is back.
    """
    controller = find_controller(live)
    if controller is not None:
        return bool(controller.get("uid") != owner_uid)
    labels = live.get("metadata", {}).get("labels") or {}
    marked = labels.get(conventions.LABEL_MANAGED_BY) == conventions.MANAGED_BY
    return not (marked and read_hash(live))


def is_left_behind(live: Manifest, owner: Gateway) -> bool:
    """Whether an object belongs to a deleted gateway that had this one's name.

    No two gateways of one name exist at a time, so the garbage collector is about to take it.
    """
    controller = find_controller(live)
    return (
        controller is not None
        and controller.get("kind") == conventions.GATEWAY_KIND
        and str(controller.get("apiVersion", "")).startswith(f"{conventions.GROUP}/")
        and controller.get("name") == owner.name
        and controller.get("uid") != owner.uid
    )


def _build_standard_labels(owner: Gateway) -> dict[str, str]:
    return {
        conventions.LABEL_PART_OF: conventions.PART_OF,
        conventions.LABEL_MANAGED_BY: conventions.MANAGED_BY,
        conventions.LABEL_GATEWAY: owner.child_name(),
    }


def _build_owner_reference(owner: Gateway) -> dict[str, Any]:
    return {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.GATEWAY_KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def find_controller(live: Manifest) -> dict[str, Any] | None:
    """The ownerReference of the one that an object belongs to."""
    owners = live.get("metadata", {}).get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def _is_controlled_by(live: Manifest, uid: str) -> bool:
    controller = find_controller(live)
    return controller is not None and controller.get("uid") == uid


def read_hash(manifest: Mapping[str, Any]) -> str | None:
    """The stamp's own hash; None where there is no stamp."""
    annotations = manifest.get("metadata", {}).get("annotations") or {}
    value: str | None = annotations.get(conventions.ANNOTATION_APPLIED_HASH)
    return value
