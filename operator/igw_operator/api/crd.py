"""The CustomResourceDefinitions, generated from the typed models.

``make generate`` writes them to ``crds/``; a test keeps the files in step. Pydantic's JSON
schema becomes a Kubernetes structural schema: references inlined, ``anyOf: [X, null]``
reduced to X, titles dropped, nested defaults reduced to ``{}`` so that the API server
fills them in level by level.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.fields import ApiModel
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Manifest
from igw_operator.api.runtime import RuntimeSpec
from igw_operator.api.status import GatewayStatus, RuntimeStatus

# Keywords of pydantic's schemas that a structural schema has no place for.
_NEVER_OBSERVED: Final = -1
_DROPPED: Final = frozenset({"title", "$defs", "default", "additionalProperties"})


def crds() -> dict[str, Manifest]:
    """Both CRDs by the name of their file in ``crds/``."""
    return {
        "inferencegateways.yaml": _gateway_crd(),
        "inferenceruntimes.yaml": _runtime_crd(),
    }


def structural_schema(model: type[ApiModel]) -> dict[str, Any]:
    """The OpenAPI v3 structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _gateway_crd() -> Manifest:
    return _crd(
        kind=conventions.GATEWAY_KIND,
        plural=conventions.GATEWAY_PLURAL,
        short_name="igw",
        scope="Namespaced",
        description="A served image-classification model with its service level objectives.",
        spec=GatewaySpec,
        status=GatewayStatus,
        rules=[conventions.NAME_GUARD_CEL],
        columns=[
            _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            _column("Reason", ".status.reason"),
            _column("Model", ".spec.model.name"),
            _column("Replicas", ".status.readiness"),
            _column("Budget", ".status.budget"),
            _column("Age", ".metadata.creationTimestamp", "date"),
            _column("Runtime", ".status.runtime.name", wide=True),
            _column("Version", ".spec.model.version", wide=True),
            _column("URL", ".status.url", wide=True),
            _column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ],
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    )


def _runtime_crd() -> Manifest:
    default = conventions.ANNOTATION_DEFAULT_RUNTIME.replace(".", r"\.")
    return _crd(
        kind=conventions.RUNTIME_KIND,
        plural=conventions.RUNTIME_PLURAL,
        short_name="igwr",
        scope="Cluster",
        description="The image that serves gateways, and what every gateway on it shares.",
        spec=RuntimeSpec,
        status=RuntimeStatus,
        rules=[],
        columns=[
            _column("Image", ".spec.image"),
            _column("Gateways", ".status.gateways", "integer"),
            _column("Updated", ".status.updated", "integer"),
            _column("Held", '.status.conditions[?(@.type=="RolloutHeld")].status'),
            _column("Age", ".metadata.creationTimestamp", "date"),
            _column("Default", f".metadata.annotations.{default}", wide=True),
            _column("Ready", '.status.conditions[?(@.type=="Ready")].status', wide=True),
            _column("Wave", ".status.wave", wide=True),
            _column("Message", ".status.message", wide=True),
        ],
        subresources={"status": {}},
    )


def _status_schema(status: type[ApiModel]) -> Manifest:
    """The status of an object that nobody has judged yet says so, and nothing else.

    Without the default it would have no observedGeneration, and kstatus (so Flux and Argo CD)
    takes an object that does not speak of generations for one that is as asked for.
    """
    schema = dict(structural_schema(status))
    del schema["required"]
    never = {"observedGeneration": _NEVER_OBSERVED}
    generation = schema["properties"]["observedGeneration"] | {"minimum": _NEVER_OBSERVED}
    schema["properties"] = schema["properties"] | {"observedGeneration": generation}
    return schema | {"default": never}


def _crd(
    *,
    kind: str,
    plural: str,
    short_name: str,
    scope: str,
    description: str,
    spec: type[ApiModel],
    status: type[ApiModel],
    rules: list[dict[str, str]],
    columns: list[dict[str, Any]],
    subresources: Mapping[str, Any],
) -> Manifest:
    schema: dict[str, Any] = {
        "description": description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(spec),
            "status": _status_schema(status),
        },
    }
    if rules:
        schema["x-kubernetes-validations"] = rules
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{conventions.GROUP}"},
        "spec": {
            "group": conventions.GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["inference"],
            },
            "versions": [
                {
                    "name": conventions.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": dict(subresources),
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return column | {"priority": 1} if wide else column


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One node of pydantic's schema as a node of a structural schema."""
    node = _resolve(schema, definitions)
    # Copies: a model that is used twice must not become a YAML alias.
    result = {key: deepcopy(value) for key, value in node.items() if key not in _DROPPED}
    if "description" in result:
        result["description"] = " ".join(inspect.cleandoc(result["description"]).split())
    if "properties" in node:
        result["properties"] = {
            name: _convert(child, definitions) for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), Mapping):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
        result.setdefault("x-kubernetes-list-type", "atomic")
    if result.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    default = _default(node)
    if default is not None:
        result["default"] = default
    return result


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Inline a reference and an optional; what the field itself says wins over its type."""
    node = dict(schema)
    if "anyOf" in node:
        (inner,) = (option for option in node.pop("anyOf") if option.get("type") != "null")
        node = _resolve(inner, definitions) | node
    if "$ref" in node:
        name = node.pop("$ref").removeprefix("#/$defs/")
        node = _resolve(definitions[name], definitions) | node
    return node


def _default(node: Mapping[str, Any]) -> Any:
    """The default to write down, or None: absent and empty values need none."""
    default = _known(node.get("default"))
    if default in ({}, [], None):
        return None
    has_own_defaults = "properties" in node and "required" not in node
    # The API server runs an object's CEL rules on its default as written, before it fills
    # in the levels below: a default that rules look into is written out in full.
    if has_own_defaults and "x-kubernetes-validations" not in node:
        return {}
    return default


def _known(value: Any) -> Any:
    """The value without nulls and empty collections, at every level."""
    if isinstance(value, list):
        return [_known(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    known = {key: _known(item) for key, item in value.items()}
    return {key: item for key, item in known.items() if item not in ({}, [], None)}
