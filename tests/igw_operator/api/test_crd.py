"""The generated CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from igw_operator.api.crd import crds

CRDS = crds()
FOLDER = Path(__file__).parents[3] / "crds"
# What `kubectl apply` may store in its last-applied annotation.
ANNOTATION_LIMIT = 262_144


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def schema_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The schema of the one version."""
    (version,) = manifest["spec"]["versions"]
    result: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return result


@pytest.mark.parametrize("name", CRDS)
def test_the_committed_file_is_in_step(name: str) -> None:
    """`make generate` was run after the last edit of the models."""
    assert yaml.safe_load((FOLDER / name).read_text()) == CRDS[name]


@pytest.mark.parametrize("name", CRDS)
@pytest.mark.pain(15)
def test_it_fits_the_client_side_apply_annotation(name: str) -> None:
    """`kubectl apply -f crds/` works; a quarter of the limit leaves room to grow."""
    assert len((FOLDER / name).read_text()) < ANNOTATION_LIMIT / 4


@pytest.mark.parametrize("name", CRDS)
def test_every_field_is_described(name: str) -> None:
    """`kubectl explain` has an answer everywhere."""
    implied = {".apiVersion", ".kind", ".metadata"}
    bare = [
        path
        for path, node in nodes(schema_of(CRDS[name]))
        if not path.endswith("[]") and path not in implied and not node.get("description")
    ]

    assert bare == []


@pytest.mark.parametrize("name", CRDS)
def test_every_list_says_how_it_merges(name: str) -> None:
    """Server-side apply needs to know."""
    silent = [
        path
        for path, node in nodes(schema_of(CRDS[name]))
        if node.get("type") == "array" and "x-kubernetes-list-type" not in node
    ]

    assert silent == []


@pytest.mark.parametrize("name", CRDS)
def test_every_printer_column_reads_a_field_that_exists(name: str) -> None:
    """A column whose path is wrong stays empty without a word."""
    (version,) = CRDS[name]["spec"]["versions"]
    paths = {path for path, _ in nodes(schema_of(CRDS[name]))}

    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].split("[")[0]
        if not path.startswith(".metadata."):
            assert path in paths, column


def test_the_columns_are_those_that_were_promised() -> None:
    """READY REASON MODEL REPLICAS BUDGET AGE, and no more without -o wide."""
    (version,) = CRDS["inferencegateways.yaml"]["spec"]["versions"]
    narrow = [c["name"] for c in version["additionalPrinterColumns"] if "priority" not in c]

    assert narrow == ["Ready", "Reason", "Model", "Replicas", "Budget", "Age"]
