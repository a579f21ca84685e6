"""The samples are accepted, and the full one shows every field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from igw_operator import conventions
from igw_operator.api.crd import crds
from igw_operator.api.fields import parse_quantity
from igw_operator.api.objects import Manifest, parse_gateway, parse_runtime

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples"
# Excluded by what else the sample sets; its comment says so.
NOT_IN_FULL = {"replicas", "observability.collector.endpoint"}


def _sample(name: str) -> Manifest:
    manifest: Manifest = yaml.safe_load((SAMPLES / name).read_text())
    return manifest


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.yaml")))
def test_a_sample_is_valid_and_leaves_the_namespace_to_its_user(name: str) -> None:
    """`kubectl apply -n` and the current namespace both work."""
    manifest = _sample(name)
    assert "namespace" not in manifest["metadata"]
    parse = parse_gateway if manifest["kind"] == conventions.GATEWAY_KIND else parse_runtime
    assert parse(manifest).name == name.removesuffix(".yaml").replace("runtime", "vision")


def test_the_first_sample_fits_a_laptop() -> None:
    """Two replicas of it run beside everything else on two CPUs."""
    spec = parse_gateway(_sample("photos.yaml")).spec
    assert spec.replicas == 2
    assert spec.model.name == "efficientnet_lite0"
    assert parse_quantity(spec.resources.requests["cpu"]) <= parse_quantity("250m")
    assert parse_quantity(spec.resources.requests["memory"]) <= parse_quantity("512Mi")


def test_gateways_name_models_that_the_default_runtime_carries() -> None:
    """A first try does not end in ModelNotFound."""
    runtime = parse_runtime(
        yaml.safe_load((ROOT / "manifests" / "base" / "default-runtime.yaml").read_text())
    )
    for name in ("photos.yaml", "resnet50.yaml"):
        assert parse_gateway(_sample(name)).spec.model.name in runtime.spec.models


def test_the_resnet50_sample_scales() -> None:
    """It shows autoscaling with the bounds of the API's defaults."""
    scaling = parse_gateway(_sample("resnet50.yaml")).spec.scaling
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas) == (3, 20)


def test_the_full_sample_sets_every_field() -> None:
    """A field that is added to the API is added here."""
    (version,) = crds()["inferencegateways.yaml"]["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields = set(_schema_paths(schema))
    assert fields - set(_set_paths(_sample("full.yaml")["spec"], schema)) == NOT_IN_FULL


def _schema_paths(schema: Manifest, path: str = "") -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        inner = child.get("items", child)
        below = list(_schema_paths(inner, f"{path}{name}."))
        yield from below or [f"{path}{name}"]


def _set_paths(value: Any, schema: Manifest, path: str = "") -> Iterator[str]:
    properties = schema.get("properties")
    if isinstance(value, list):
        for item in value:
            yield from _set_paths(item, schema.get("items", {}), path)
    elif isinstance(value, dict) and properties:
        for name, child in value.items():
            yield from _set_paths(child, properties[name], f"{path}.{name}".lstrip("."))
    else:
        yield path
