"""Mutations of a gateway's spec, generated from the CRD's schema: every field, badly and well.

After Acto (https://dl.acm.org/doi/10.1145/3600006.3613161): each field at its extremes, of the
wrong type, absent, null, each word of an enum and one more, empty, very long, and in unicode.
Whether a mutation is allowed is not said here: the API server decides, and both are tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from integration.operator_process import ROOT

Spec = dict[str, Any]
_UNICODE: Final = "Ünï ✓ 日本 🙂"
_LONG: Final = "x" * 5000
_WRONG: Final[tuple[Any, ...]] = (
    None,
    "",
    7,
    -1,
    True,
    "x",
    _UNICODE,
    _LONG,
    [],
    {},
    [[]],
    {"": 0},
)
# One valid value or more for what a pattern or a rule restricts.
_VALID: Final[dict[str, tuple[Any, ...]]] = {
    "period": ("1s", "30m"),
    "drain": ("0s", "10m"),
    "timeout": ("100ms", "1h"),
    "threshold": ("1ms", "60s"),
    "slowThreshold": ("1ms", "10m"),
    "objective": (99.999, 93.1, 0.001),
    "endpoint": ("http://collector.example:4318", "collector.example:4317"),
    "uri": ("pvc://claim/path", "file:///models/mine", "https://h/m.tar", "s3://bucket/m.tar"),
    "secretName": ("reader",),
    "auth": (
        {
            "jwt": {
                "issuer": "https://issuer.example",
                "audiences": ["photos"],
                "jwksUri": "https://issuer.example:8443/keys",
            }
        },
    ),
    "sha256": ("0" * 64,),
    "maxBatch": ("auto", 64),
    "maxBytesPerSecond": ("1Ki", "1Gi"),
    "name": ("resnet50", "efficientnet_lite0"),
    "version": ("2", "v1.0-rc_1"),
    "priorityClassName": ("system-cluster-critical", "nonesuch"),
    "runbookURL": ("https://example.org/" + "r" * 900,),
    "tolerations": ([{"operator": "Exists"}], [{"key": "a", "value": "b", "effect": "NoExecute"}]),
    "allowFrom": ([{"podSelector": {}}], [{"ipBlock": {"cidr": "10.0.0.0/8"}}], [{"nonsense": 1}]),
    "affinity": ({"nodeAffinity": {}}, {"podAntiAffinity": "nonsense"}, {"nonsense": {}}),
}
_MAPS: Final[tuple[Any, ...]] = (
    {"a": "b"},
    {"example.org/a": _UNICODE},
    {"a": ""},
    {"a": _LONG},
    {_UNICODE: "b"},
    {"x" * 400: "b"},
    {f"k{number}": "v" for number in range(64)},
    {"a": 1},
)
_QUANTITIES: Final = (0, 1, "1n", "100m", "1.5", "3Gi", "64Mi", "9E", "-1", "1e3", "abc")


@dataclass(frozen=True, slots=True)
class Mutation:
    """A whole spec, and what is odd about it."""

    path: str
    what: str
    spec: Spec

    def __str__(self) -> str:
        return f"{self.path} = {self.what}"


def all_mutations() -> list[Mutation]:
    """Every mutation of every field, in the order of the schema, no spec twice."""
    crd = yaml.safe_load((ROOT / "crds" / "inferencegateways.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: dict[str, Mutation] = {}
    for path, value in _walk(schema, ()):
        mutation = Mutation(".".join(path), _shorten(value), _nest(path, value))
        found.setdefault(repr(mutation.spec), mutation)
    return list(found.values())


def _walk(schema: Spec, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in schema.get("properties", {}).items():
        here = (*path, name)
        for value in (*_values(name, field), *_WRONG):
            yield here, value
        yield from _walk(field, here)
    if path:
        yield path, {"nonsense": True}


def _values(name: str, field: Spec) -> Iterator[Any]:
    yield from _VALID.get(name, ())
    yield from field.get("enum", ())
    if field.get("x-kubernetes-int-or-string"):
        yield from _QUANTITIES
    elif field.get("type") in {"integer", "number"}:
        for bound in (field.get("minimum"), field.get("maximum")):
            if bound is not None:
                yield from (bound, bound - 1, bound + 1)
        yield from (0, 1, 1.5, 2**31, -(2**63), 2**63)
    elif field.get("type") == "boolean":
        yield from (True, False, "true")
    elif field.get("type") == "string" and "maxLength" in field:
        yield "a" * field["maxLength"]
        yield "a" * (field["maxLength"] + 1)
    elif "additionalProperties" in field:
        quantities = field["additionalProperties"].get("x-kubernetes-int-or-string")
        if quantities:
            for quantity in _QUANTITIES:
                yield {"cpu": quantity}
                yield {"memory": quantity}
        yield from _MAPS


def _nest(path: tuple[str, ...], value: Any) -> Spec:
    """The smallest spec with that value at that path."""
    nested: Spec = {path[-1]: value}
    for name in reversed(path[:-1]):
        nested = {name: nested}
    model = {"name": "resnet50"}
    if path[0] == "model" and len(path) > 1:
        return {"model": model | nested["model"]}
    return {"model": model} | nested


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
