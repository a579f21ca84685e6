"""The shipped rights are those that the code needs: not one verb less, not one more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from igw_operator import kinds
from igw_operator.kinds import CHILD_BY_KIND, Resource
from igw_operator.plan.children import build_children
from plan_kit.children import EVERY_API, an_input

FILE = Path(__file__).parents[2] / "manifests" / "base" / "operator-rbac.yaml"
Right = tuple[str, str, str]  # group, resource, verb
CHILD_VERBS = ("get", "list", "watch", "create", "patch", "delete")


def test_the_cluster_role_is_what_the_code_needs() -> None:
    """Children, our own kinds, what is observed, events, CRDs."""
    needed = {
        *_rights(kinds.CHILDREN, CHILD_VERBS),
        *_rights(kinds.OWN, ("get", "list", "watch")),
        *_rights((*kinds.OBSERVED, *kinds.SURROUNDING), ("list", "watch")),
        *((it.group, f"{it.plural}/status", "patch") for it in kinds.OWN),
        (kinds.GATEWAY.group, f"{kinds.GATEWAY.plural}/finalizers", "update"),
        ("", "events", "list"),
        ("events.k8s.io", "events", "create"),
        ("events.k8s.io", "events", "patch"),
        ("apiextensions.k8s.io", "customresourcedefinitions", "list"),
        ("apiextensions.k8s.io", "customresourcedefinitions", "watch"),
    }
    assert set(_granted("ClusterRole")) == needed


def test_the_role_is_what_the_lease_needs() -> None:
    """In the operator's own namespace only."""
    assert set(_granted("Role")) == {
        ("coordination.k8s.io", "leases", verb) for verb in ("get", "update", "create")
    }


def test_every_kind_that_is_built_is_in_the_table() -> None:
    """A new builder needs a row, and with it a right."""
    specs: list[dict[str, Any]] = [
        {"service": {"route": {"parentRefs": [{"name": "public"}]}}},
        {"scaling": {"engine": "KEDA"}},
        {"observability": {"collector": {"mode": "OpenTelemetryCollector"}}},
    ]
    capabilities = replace(EVERY_API, scaled_objects=True)
    built = {
        (child["apiVersion"], child["kind"])
        for spec in specs
        for child in build_children(an_input(capabilities=capabilities, **spec))
    }
    assert built == {(it.api_version, it.kind) for it in CHILD_BY_KIND.values()}


def _rights(resources: tuple[Resource, ...], verbs: tuple[str, ...]) -> Iterator[Right]:
    for resource in resources:
        for verb in verbs:
            yield resource.group, resource.plural, verb


def _granted(kind: str) -> Iterator[Right]:
    for manifest in yaml.safe_load_all(FILE.read_text()):
        if manifest["kind"] == kind:
            yield from _flatten(manifest["rules"])


def _flatten(rules: list[dict[str, Any]]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb
