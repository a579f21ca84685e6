"""Where each model of a gateway lies in its pods: volume, folder, and what the server opens.

The first place is that of ``spec.model`` and is named as if there were no other: what is rendered
for a gateway with one model must stay as it was, or an operator upgrade would restart the fleet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.model import Model

_CLAIM_SCHEME: Final = "pvc://"
_REMOTE: Final = ("http://", "https://", "s3://", "gs://")
# An archive, 8 GiB at most (`igw_runtime.models.fetch`), and the note beside its part.
_VOLUME_LIMIT: Final = "9Gi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one model lies."""

    model: Model
    number: int
    field: str
    """Path of the model in the gateway, such as ``spec.model``."""
    volume: str = ""
    """Name of the volume that it is in; empty: the image has it."""
    folder: str = ""
    """Where that is mounted."""
    claim: str = ""
    """The PersistentVolumeClaim, if it is in one."""
    path: str = ""
    """Path in the volume."""

    @property
    def is_fetched(self) -> bool:
        """Whether the model has to be brought into the pod."""
        return is_remote(self.model.uri)

    @property
    def uri(self) -> str:
        """What the server opens: it knows files only; empty: the image's own model."""
        if not self.volume:
            return self.model.uri or ""
        return f"file://{self.folder}/{self.path}".rstrip("/")

    def build_mount(self, *, read_only: bool = True) -> dict[str, Any]:
        """The mount of its volume; whoever fetches has to write."""
        mount: dict[str, Any] = {"name": self.volume, "mountPath": self.folder}
        return mount | {"readOnly": True} if read_only else mount

    def build_volume(self) -> dict[str, Any]:
        """Its volume; one for fetching outlives containers, so a fetch that was cut goes on."""
        if self.is_fetched:
            return {"name": self.volume, "emptyDir": {"sizeLimit": _VOLUME_LIMIT}}
        source = {"claimName": self.claim, "readOnly": True}
        return {"name": self.volume, "persistentVolumeClaim": source}


def is_remote(uri: str | None) -> bool:
    """Whether a package lies outside the cluster's volumes and images."""
    return uri is not None and uri.startswith(_REMOTE)


def place_models(spec: GatewaySpec) -> tuple[Place, ...]:
    """The places of all models, in the order of the spec."""
    return tuple(_place(spec))


def list_volumes(spec: GatewaySpec) -> list[Place]:
    """Those of the places whose volume no earlier one has."""
    first: dict[str, Place] = {}
    for place in _place(spec):
        if place.volume:
            first.setdefault(place.volume, place)
    return list(first.values())


def _place(spec: GatewaySpec) -> Iterator[Place]:
    # One volume for each claim: a pod with two of the same may never start.
    # https://github.com/kubernetes/kubernetes/issues/132921
    numbers: dict[str, int] = {}
    for number, model in enumerate([spec.model, *spec.additional_models]):
        field = f"spec.additionalModels[{number - 1}]" if number else "spec.model"
        uri = model.uri or ""
        if uri.startswith(_CLAIM_SCHEME):
            claim, _, path = uri.removeprefix(_CLAIM_SCHEME).partition("/")
            at = numbers.setdefault(claim, number)
        elif is_remote(uri):
            claim, path, at = "", conventions.MODEL_PACKAGE, number
        else:
            yield Place(model=model, number=number, field=field)
            continue
        suffix = f"-{at}" if at else ""
        yield Place(
            model=model,
            number=number,
            field=field,
            volume=f"models{suffix}",
            folder=f"{conventions.MODEL_DIR}{suffix}",
            claim=claim,
            path=path,
        )
