"""Several models of one gateway: where each of them lies in the pods."""

from __future__ import annotations

from typing import Any

import pytest

from igw_operator import conventions
from igw_operator.errors import SpecError
from igw_runtime.settings import Settings, parse_settings
from plan_kit.children import build, container, pod_spec

CLAIM = {"name": "m", "uri": "pvc://claim/1"}
AGAIN = {"name": "m", "version": "2", "uri": "pvc://claim/2"}
OTHER = {"name": "other", "uri": "pvc://others/"}
FAR = {"name": "far", "uri": "https://host/far.tar"}
NEAR = {"name": "near", "uri": "http://store.local:9000/near.tar", "sha256": "0" * 64}
IMAGE = {"name": "resnet50"}
FILE = {"name": "file", "uri": "file:///models/file"}


def of(model: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """A spec with these models."""
    return {"model": model, "additionalModels": list(others)}


def pod(**spec: Any) -> dict[str, Any]:
    """The pod of the server."""
    return pod_spec(build(**spec)["Deployment", "photos"])


def models_of(names: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those volumes or mounts that hold models."""
    return [it for it in names if it["name"].startswith("models")]


def parse(**spec: Any) -> Settings:
    """The settings as the runtime reads them."""
    text = build(**spec)["ConfigMap", "photos-config"]["data"][conventions.CONFIG_FILE]
    loaded = parse_settings(text.encode())
    assert loaded.unknown == ()
    return loaded.settings


@pytest.mark.parametrize("model", [CLAIM, FAR, IMAGE], ids=["claim", "fetched", "image"])
def test_one_model_is_rendered_as_if_there_could_be_no_other(model: dict[str, Any]) -> None:
    """An empty list changes no byte of the pods, nor of the settings."""
    assert build(model=model) == build(**of(model))


def test_each_claim_is_one_volume() -> None:
    """However many models are in it: a pod with one claim twice may never start."""
    spec = of(CLAIM, AGAIN, OTHER, {**OTHER, "version": "2", "uri": "pvc://others/b"})
    assert models_of(pod(**spec)["volumes"]) == [
        {"name": "models", "persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
        {"name": "models-2", "persistentVolumeClaim": {"claimName": "others", "readOnly": True}},
    ]
    mounts = container(build(**spec)["Deployment", "photos"])["volumeMounts"]
    assert models_of(mounts) == [
        {"name": "models", "mountPath": "/mnt/models", "readOnly": True},
        {"name": "models-2", "mountPath": "/mnt/models-2", "readOnly": True},
    ]
    assert [model.uri for model in parse(**spec).models] == [
        "file:///mnt/models/1",
        "file:///mnt/models/2",
        "file:///mnt/models-2",
        "file:///mnt/models-2/b",
    ]


def test_each_fetched_model_has_a_container_and_a_volume_of_its_own() -> None:
    """Named by its place; the first one as if it were alone."""
    spec = of(FAR, IMAGE, NEAR)
    first, second = pod(**spec)["initContainers"]
    assert (first["name"], second["name"]) == ("fetch", "fetch-2")
    assert second["volumeMounts"] == [{"name": "models-2", "mountPath": "/mnt/models-2"}]
    assert "--output=/mnt/models-2" in second["args"]
    assert first == pod(model=FAR)["initContainers"][0]
    assert [it["name"] for it in models_of(pod(**spec)["volumes"])] == ["models", "models-2"]
    assert [model.uri for model in parse(**spec).models] == [
        "file:///mnt/models/package",
        "",
        "file:///mnt/models-2/package",
    ]
    deadlines = [
        build(**it)["Deployment", "photos"]["spec"]["progressDeadlineSeconds"]
        for it in ({}, {"model": FAR}, spec)
    ]
    assert deadlines[2] - deadlines[1] == deadlines[1] - deadlines[0] > 0


def test_the_server_is_told_all_of_each_model() -> None:
    """In the order of the spec, the default one first."""
    spec = of(IMAGE, {**FILE, "version": "7", "precision": "bf16", "sha256": "0" * 64})
    first, second = parse(**spec).models
    assert (first.name, first.version) == ("resnet50", "1")
    assert second.model_dump(by_alias=True) == {
        "name": "file",
        "version": "7",
        "uri": "file:///models/file",
        "sha256": "0" * 64,
        "precision": "bf16",
        "engine": "auto",
        "torchCompile": False,
    }


def test_the_network_policy_opens_each_port_once() -> None:
    """To wherever models are fetched from."""
    spec = of(FAR, NEAR, {"name": "b", "uri": "s3://b/b.tar"})
    egress = build(**spec)["NetworkPolicy", "photos"]["spec"]["egress"]
    ports = [port["port"] for rule in egress for port in rule["ports"]]
    assert sorted(port for port in ports if port in {443, 9000}) == [443, 9000]


def test_a_port_that_is_none_is_named_by_its_place() -> None:
    """The pattern takes any digits."""
    with pytest.raises(SpecError) as caught:
        build(**of(IMAGE, FAR, {**FAR, "version": "2", "uri": "https://host:99999/far.tar"}))
    assert caught.value.errors[0].path == "spec.additionalModels[1].uri"
