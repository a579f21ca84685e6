"""Parsing of whole objects."""

from __future__ import annotations

import pytest

from bad_gateways import BAD_GATEWAYS, BadGateway
from factories import a_gateway, a_runtime, gateway_manifest
from igw_operator.api.objects import parse_gateway, parse_runtime
from igw_operator.errors import SpecError


@pytest.mark.parametrize("bad", BAD_GATEWAYS, ids=lambda bad: bad.sentence)
def test_a_bad_gateway_is_refused_with_the_field_at_fault(bad: BadGateway) -> None:
    """Every refusal names the field and says what is wrong with it."""
    with pytest.raises(SpecError) as refusal:
        parse_gateway(gateway_manifest(bad.name, **bad.spec))

    assert any(
        error.path.startswith(bad.path) and bad.says in str(error) for error in refusal.value.errors
    ), str(refusal.value)


def test_all_errors_are_told_at_once() -> None:
    """An author of a CR does not have to find mistakes one by one."""
    manifest = gateway_manifest(
        model={"nom": "x"}, slo={"window": "1d"}, resources={"requests": {"cpu": "x"}}
    )

    with pytest.raises(SpecError) as refusal:
        parse_gateway(manifest)

    assert {error.path for error in refusal.value.errors} == {
        "spec.model.name",
        "spec.model.nom",
        "spec.slo.window",
        "spec.resources.requests.cpu",
    }


def test_a_null_is_an_absent_field() -> None:
    """The API server drops nulls before it applies defaults; so does the parser."""
    assert a_gateway(slo=None).spec.slo.availability.objective == 99.5


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}},
        {"apiVersion": "inference.igw.dev/v1alpha1", "kind": "InferenceGateway", "spec": {}},
        gateway_manifest() | {"spec": None},
    ],
    ids=["nothing at all", "another kind", "no metadata", "no spec"],
)
def test_what_is_no_gateway_is_refused(manifest: dict[str, object]) -> None:
    """Any YAML document may reach the command line."""
    with pytest.raises(SpecError):
        parse_gateway(manifest)


def test_a_gateway_knows_where_it_lives() -> None:
    """Key and child names derive from the metadata."""
    gateway = a_gateway("photos", "demo")

    assert (str(gateway.key), gateway.child_name("metrics")) == ("demo/photos", "photos-metrics")


def test_child_names_of_long_gateways_fit_and_differ() -> None:
    """Two gateways whose long names share a prefix get different children."""
    one, other = a_gateway("a" * 62 + "b"), a_gateway("a" * 62 + "c")

    assert len(one.child_name("collector")) <= 63
    assert one.child_name() != other.child_name()


def test_a_runtime_is_the_default_by_annotation() -> None:
    """As a StorageClass is."""
    assert a_runtime().is_default


@pytest.mark.parametrize(
    "image", ["", "a b", "igw.dev/runtime@sha256:123"], ids=["empty", "a blank", "a short digest"]
)
def test_a_bad_image_is_refused(image: str) -> None:
    """A typo in an image reference is found before any pod is."""
    with pytest.raises(SpecError, match=r"spec\.image: must be an image reference"):
        a_runtime(image=image)


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "igw.dev/runtime:0.1.0",
        "localhost:5000/a/b:1",
        "ghcr.io/acme/runtime:1.0@sha256:" + "0" * 64,
    ],
)
def test_a_good_image_is_taken(image: str) -> None:
    """Registries with ports, tags and digests are all in use."""
    assert a_runtime(image=image).spec.image == image


def test_a_runtime_of_another_kind_is_refused() -> None:
    """The error names what was found."""
    with pytest.raises(SpecError, match="kind: must be InferenceRuntime"):
        parse_runtime(gateway_manifest())
