"""The operator's own part of pod templates, as one digest.

It is computed by building a few fixed gateways, so that nobody has to remember to raise a
number when a builder changes. Two operators with the same digest build the same templates
from the same specs, as far as these gateways show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.objects import Manifest, parse_gateway, parse_runtime
from igw_operator.plan.children import build_children
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.prune import prune

_TOLERATION: Final = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
_TOKENS: Final = {"jwt": {"issuer": "i", "audiences": ["a"], "jwksUri": "https://issuer/keys"}}
# One for each way that a builder can take.
_SPECS: Final[tuple[Mapping[str, Any], ...]] = (
    {},
    {"model": {"name": "mine", "uri": "pvc://claim/path"}, "replicas": 2},
    {
        "model": {
            "name": "mine",
            "uri": "s3://bucket/mine.tar",
            "endpoint": "http://store:9000",
            "credentials": {"secretName": "store"},
            "sha256": "0" * 64,
        }
    },
    {
        "model": {
            "name": "mine",
            "uri": "https://host/mine.tar",
            "credentials": {"secretName": "store"},
        }
    },
    {
        "model": {"name": "mine", "uri": "pvc://claim/1"},
        "additionalModels": [
            {"name": "mine", "version": "2", "uri": "pvc://claim/2"},
            {"name": "other", "uri": "pvc://others/path"},
            {"name": "other", "version": "2", "uri": "gs://bucket/other.tar"},
            {"name": "reference"},
        ],
    },
    {
        "scheduling": {
            "spot": "Prefer",
            "nodeSelector": {"pool": "a"},
            "tolerations": [_TOLERATION],
            "priorityClassName": "high",
            "spread": False,
        },
        "observability": {"tracing": {"endpoint": "https://traces:4317"}},
    },
    {
        "scheduling": {"spot": "Require"},
        "observability": {"collector": {"mode": "External", "endpoint": "http://collector:4318"}},
    },
    {"observability": {"collector": {"mode": "Disabled"}}},
    {"serving": {"grpc": True, "auth": _TOKENS, "tls": {"secretName": "certificate"}}},
)


@cache
def digest_templates() -> str:
    """The digest of what this version builds."""
    runtime = parse_runtime(
        _build_object(conventions.RUNTIME_KIND, {"image": "reference", "imagePullSecrets": ["a"]})
    )
    templates: list[Any] = []
    for spec in _SPECS:
        manifest = _build_object(
            conventions.GATEWAY_KIND, {"model": {"name": "reference"}} | dict(spec)
        )
        children = build_children(PlanInput(gateway=parse_gateway(manifest), runtime=runtime))
        templates += [
            prune(child["spec"]["template"]) for child in children if child["kind"] == "Deployment"
        ]
    return build_digest(templates)


def _build_object(kind: str, spec: Mapping[str, Any]) -> Manifest:
    return {
        "apiVersion": conventions.API_VERSION,
        "kind": kind,
        "metadata": {"name": "reference", "namespace": "reference"},
        "spec": dict(spec),
    }
