"""Objects of the API server, parsed: identity and typed spec, or the fields at fault.

Called by ``world`` for what the cluster holds and by the command line for files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from igw_operator import conventions
from igw_operator.api.fields import ApiModel
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.runtime import RuntimeSpec
from igw_operator.errors import FieldError, SpecError

Manifest = dict[str, Any]
SpecT = TypeVar("SpecT", bound=ApiModel)


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Where a namespaced object lives."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One InferenceGateway as it was read: identity, generation, typed spec."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: GatewaySpec
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)

    def child_name(self, suffix: str = "") -> str:
        """Name of a child object; see `conventions.child_name`."""
        return conventions.child_name(self.name, suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One InferenceRuntime as it was read."""

    name: str
    generation: int
    spec: RuntimeSpec
    is_default: bool = False
    resource_version: str = ""
    rollout: Mapping[str, Any] = field(default_factory=dict)
    """``status.rollout`` as it stands, empty where there is none; `plan.rollout` reads it."""


def parse_gateway(manifest: Mapping[str, Any]) -> Gateway:
    """The typed gateway.

    Raises:
        SpecError: with one entry per field at fault.
    """
    metadata = _metadata(manifest, conventions.GATEWAY_KIND)
    if not re.match(conventions.NAME_PATTERN, metadata["name"]):
        raise SpecError([FieldError("metadata.name", conventions.NAME_MESSAGE)])
    return Gateway(
        namespace=metadata.get("namespace") or "default",
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        spec=_parse_spec(GatewaySpec, manifest),
        annotations=dict(metadata.get("annotations") or {}),
        labels=dict(metadata.get("labels") or {}),
    )


def parse_runtime(manifest: Mapping[str, Any]) -> Runtime:
    """The typed runtime.

    Raises:
        SpecError: with one entry per field at fault.
    """
    metadata = _metadata(manifest, conventions.RUNTIME_KIND)
    return Runtime(
        name=metadata["name"],
        generation=metadata.get("generation", 0),
        spec=_parse_spec(RuntimeSpec, manifest),
        is_default=is_default_runtime(manifest),
        resource_version=metadata.get("resourceVersion", ""),
        rollout=dict((manifest.get("status") or {}).get("rollout") or {}),
    )


def is_default_runtime(manifest: Mapping[str, Any]) -> bool:
    """Whether the InferenceRuntime is annotated as the cluster's default."""
    annotations = manifest.get("metadata", {}).get("annotations") or {}
    return bool(annotations.get(conventions.ANNOTATION_DEFAULT_RUNTIME) == "true")


def _metadata(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    errors = [
        FieldError(path, f"must be {wanted}, not {manifest.get(path)!r}")
        for path, wanted in (("apiVersion", conventions.API_VERSION), ("kind", kind))
        if manifest.get(path) != wanted
    ]
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        errors.append(FieldError("metadata.name", "is required"))
        metadata = {}
    if errors:
        raise SpecError(errors)
    return metadata


def _parse_spec(model: type[SpecT], manifest: Mapping[str, Any]) -> SpecT:
    if not isinstance(manifest.get("spec"), Mapping):
        raise SpecError([FieldError("spec", "is required")])
    try:
        # JSON mode is strict on scalars yet takes lists for tuples and strings for enums.
        return model.model_validate_json(json.dumps(_without_nulls(manifest["spec"])))
    except ValidationError as error:
        raise SpecError([_field_error(detail) for detail in error.errors()]) from error


def _without_nulls(value: Any) -> Any:
    """Drop null fields, as the API server does before it applies defaults."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _field_error(detail: Any) -> FieldError:
    path = "spec"
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    messages = {
        "extra_forbidden": "unknown field",
        "missing": "is required",
    }
    message = messages.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    return FieldError(path, message[:1].lower() + message[1:])
