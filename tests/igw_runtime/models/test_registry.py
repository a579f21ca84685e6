from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.registry import ENTRY_POINT_GROUP, OWN_ARCHITECTURES, find_architecture
from runtime_kit.plugins import install

ROOT = Path(__file__).parents[3]
CODE = """
from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.registry import Architecture

def describe():
    return Architecture(
        name="{name}",
        build=lambda: None,
        build_pretrained=lambda: (None, "mine"),
        preprocessing=Preprocessing(resize=32, crop=32, mean=[0.5] * 3, std=[0.5] * 3),
        labels=lambda: ["cat", "dog"],
        trained_on="custom",
    )
"""


def test_ours_are_registered_as_any_other() -> None:
    """What runs from sources knows just what a wheel of the project registers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {ENTRY_POINT_GROUP: OWN_ARCHITECTURES}


@pytest.mark.parametrize("name", OWN_ARCHITECTURES)
def test_ours_need_no_metadata(name: str) -> None:
    """Images carry the sources, and no installed distribution of them."""
    assert find_architecture(name).name == name


def test_a_package_plugs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own classes, and nobody takes its weights for ImageNet's."""
    install(monkeypatch, tmp_path, "pets_a", CODE.format(name="pets"), "pets = pets_a:describe")
    found = find_architecture("pets")
    assert found.name == "pets"
    assert found.labels() == ["cat", "dog"]
    assert found.trained_on == "custom"


def test_a_plug_in_comes_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installs another one wants it."""
    code = CODE.format(name="theirs")
    install(monkeypatch, tmp_path, "pets_b", code, "efficientnet_lite0 = pets_b:describe")
    assert find_architecture("efficientnet_lite0").name == "theirs"


def test_two_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of them came first on the path is nobody's decision."""
    for module in ("pets_c", "pets_d"):
        code, folder = CODE.format(name="pets"), tmp_path / module
        install(monkeypatch, folder, module, code, f"pets = {module}:describe")
    with pytest.raises(ModelLoadFailedError, match="pets_c:describe, pets_d:describe"):
        find_architecture("pets")


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("pets_e", "import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at"),
        ("pets_f", "", "AttributeError: .*describe"),
        ("pets_g", "def describe(): raise RuntimeError('no')", "RuntimeError: no"),
        ("pets_h", "def describe(): return 1", "gives no Architecture"),
    ],
)
def test_a_broken_plug_in_is_named(
    module: str, code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the entry point and what went wrong in it."""
    install(monkeypatch, tmp_path, module, code, f"pets = {module}:describe")
    with pytest.raises(ModelLoadFailedError, match=rf"'pets' \({module}:describe\).*{words}"):
        find_architecture("pets")
