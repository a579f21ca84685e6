"""The API reference, ``docs/api.md``, written from the CRDs' schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.crd import crds

_INTRODUCTION = """\
<!-- Generated from operator/igw_operator/api by `make generate`. Do not edit. -->
# API reference

`inference.igw.dev/v1alpha1`. Every field is here with its type, its default and its rules;
`kubectl explain igw.spec` says the same on a cluster.
"""


_ANNOTATIONS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    conventions.GATEWAY_KIND: {
        conventions.ANNOTATION_ALERT_DRILL: (
            "time (RFC 3339)",
            "Raise an alert that is only a [drill](slo.md#alert-drill), for 15 minutes from then.",
        ),
    },
    conventions.RUNTIME_KIND: {
        conventions.ANNOTATION_DEFAULT_RUNTIME: (
            "`true`",
            "Gateways without `spec.runtimeRef` are served by this runtime.",
        ),
    },
}


def reference() -> str:
    """The whole page."""
    return _INTRODUCTION + "".join(_kind(crd) for crd in crds().values())


def _kind(crd: Mapping[str, Any]) -> str:
    names = crd["spec"]["names"]
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    page = (
        f"\n## {names['kind']}\n\n{schema['description']} Short name `{names['shortNames'][0]}`, "
    )
    page += f"{crd['spec']['scope'].lower()}.\n"
    for rule in schema.get("x-kubernetes-validations", []):
        page += f"\nRule: {rule['message']}.\n"
    for part in ("spec", "status"):
        page += f"\n### {names['kind']} {part}\n\n"
        page += "| Field | Type | Default | Description |\n|---|---|---|---|\n"
        page += "".join(_rows(schema["properties"][part], part))
    page += f"\n### {names['kind']} annotations\n\n"
    page += "| Annotation | Value | Effect |\n|---|---|---|\n"
    for name, (value, effect) in _ANNOTATIONS[names["kind"]].items():
        page += f"| `{name}` | {value} | {effect} |\n"
    return page


def _rows(node: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        required = name in node.get("required", ())
        yield from _field(child, f"{path}.{name}", required=required)


def _field(node: Mapping[str, Any], path: str, *, required: bool) -> Iterator[str]:
    default = node.get("default")
    shown = "required" if required else "" if default in (None, {}) else f"`{_plain(default)}`"
    words = [node.get("description", "")]
    words += [f"Rule: {rule['message']}." for rule in node.get("x-kubernetes-validations", ())]
    words += [_bounds(node)]
    text = " ".join(word for word in words if word).replace("|", "\\|")
    yield f"| `{path}` | {_type(node)} | {shown} | {text} |\n"
    yield from _rows(node, path)
    if isinstance(node.get("items"), Mapping):
        yield from _rows(node["items"], f"{path}[]")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f"At least {low}."
    return f"{low} to {high}."


def _type(node: Mapping[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity" if "pattern" in node else "integer \\| string"
    if "enum" in node:
        return " \\| ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    if isinstance(node.get("additionalProperties"), Mapping):
        return f"map of {_type(node['additionalProperties'])}"
    return str(node["type"])
