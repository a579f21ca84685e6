"""Exporting models: `make test-export`, in an environment of its own.

torch is 5 GB; the image build has it and runs the successful export, so the project's own
environment leaves it out and these tests are collected only where it is installed.
"""

from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest

from igw_runtime.errors import (
    GoldenCheckFailedError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.models.artifact import read_package
from igw_runtime.models.export import ExportOrder, export_model
from igw_runtime.models.registry import find_architecture
from runtime_kit.plugins import install

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


def an_order(
    output: Path, *, allow_random: bool, architecture: str = "squeezenet1_1"
) -> ExportOrder:
    """Return an order for a small network."""
    return ExportOrder(
        name="small",
        architecture=architecture,
        version="1",
        precision="fp32",
        output=output,
        formats=["openvino", "torch"],
        allow_random_weights=allow_random,
        seed=3,
    )


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "no network"
        raise URLError(message)

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-weights-here"))


@pytest.mark.usefixtures("_offline")
def test_random_weights_need_to_be_asked_for(tmp_path: Path) -> None:
    """Without trained weights an export fails and says which flag would let it pass."""
    with pytest.raises(ModelNotFoundError, match="--allow-random-weights"):
        export_model(an_order(tmp_path, allow_random=False))


@pytest.mark.usefixtures("_offline")
def test_random_weights_are_marked(tmp_path: Path) -> None:
    """Both formats answer the golden image, and the manifest admits the seed."""
    manifest = export_model(an_order(tmp_path, allow_random=True))

    assert str(manifest.weights) == "random(seed=3)"
    assert read_package(tmp_path / "small").labels[0] == "tench"


def test_unknown_architecture_lists_known_ones() -> None:
    """A typo is answered with the names that exist."""
    with pytest.raises(ModelLoadFailedError, match="resnet50"):
        find_architecture("resnet5")


PETS = """
import torch
from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.registry import Architecture

def build():
    layers = [torch.nn.Conv2d(3, 3, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers)

def describe():
    return Architecture(
        name="pets",
        build=build,
        build_pretrained=lambda: (build(), "mine"),
        preprocessing=Preprocessing(resize=32, crop=32, mean=[0.5] * 3, std=[0.5] * 3),
        labels=lambda: {labels},
        trained_on="custom",
    )
"""


def test_an_architecture_brings_its_own_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in's package names its classes, and does not claim ImageNet's weights."""
    code = PETS.format(labels=["cat", "dog", "newt"])
    install(monkeypatch, tmp_path / "plug", "pets_x", code, "pets = pets_x:describe")
    manifest = export_model(an_order(tmp_path, allow_random=False, architecture="pets"))

    assert str(manifest.weights) == "custom(mine)"
    assert read_package(tmp_path / "small").labels.names == ("cat", "dog", "newt")


def test_labels_are_as_many_as_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer would have the name of another class."""
    code = PETS.format(labels=["cat", "dog"])
    install(monkeypatch, tmp_path / "plug", "pets_y", code, "pets = pets_y:describe")
    with pytest.raises(ModelLoadFailedError, match="pets has 3 classes, and names for 2"):
        export_model(an_order(tmp_path, allow_random=False, architecture="pets"))


def test_package_that_was_there_stays_until_the_new_one_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that fails at its last step leaves nothing behind."""
    code = PETS.format(labels=["cat", "dog", "newt"])
    install(monkeypatch, tmp_path / "plug", "pets_z", code, "pets = pets_z:describe")
    order = an_order(tmp_path / "out", allow_random=False, architecture="pets")
    export_model(order)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    monkeypatch.setattr("igw_runtime.models.export.check_golden", lambda *_: "wrong")

    with pytest.raises(GoldenCheckFailedError, match="wrong"):
        export_model(replace(order, version="2"))
    after = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert before == after
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small"]
