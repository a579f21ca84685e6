"""The versions file: complete, consistent with the modules under `build/`, refused when wrong."""

from pathlib import Path

import pytest

from localnode.errors import NodeError
from localnode.network import NODE_ADDRESS
from localnode.paths import BUILD_FOLDER, NODE_FOLDER
from localnode.versions import load_versions, parse_versions


def test_every_tool_has_a_pinned_module() -> None:
    """A tool of the versions file has a go.mod that names its packages' modules."""
    for tool in load_versions().tools.values():
        text = (BUILD_FOLDER / tool.name / "go.mod").read_text()

        for package in tool.packages.values():
            assert package == "." or f"tool {package}" in text or f"\t{package}\n" in text


def test_every_folder_of_build_is_a_tool() -> None:
    """No module lies around without an entry in the versions file."""
    assert {path.name for path in BUILD_FOLDER.iterdir()} == set(load_versions().tools)


def test_every_image_is_made_of_known_binaries() -> None:
    """An image's files are binaries of a tool, or paths of the machine."""
    versions = load_versions()
    for image in versions.images:
        for source in image.files.values():
            tool, colon, name = source.partition(":")
            assert source.startswith("/") if not colon else name in versions.tools[tool].packages


def test_an_unknown_key_is_refused_with_the_next_command(tmp_path: Path) -> None:
    """A typing error in the file is an error that says how to get the file back."""
    path = tmp_path / "versions.toml"
    path.write_text('[apt]\nbuild_seconds = 1\npackages = {}\n[go.x]\nversoin = "1"\n')

    with pytest.raises(NodeError, match="git checkout"):
        load_versions(path)


def test_parsing_keeps_the_order_of_the_file() -> None:
    """Tools are built in the order they are written in."""
    entry = {"version": "1", "packages": {}, "build_seconds": 1, "disk_gib": 1}
    data = {"apt": {"build_seconds": 1, "packages": {}}, "go": {"b": entry, "a": entry}}

    assert list(parse_versions(data).tools) == ["b", "a"]


def test_addons_use_the_node_address_and_the_images_that_are_made() -> None:
    """The static manifests agree with the code and the versions file."""
    coredns = (NODE_FOLDER / "addons" / "coredns.yaml").read_text()
    metrics = (NODE_FOLDER / "addons" / "metrics-server.yaml").read_text()

    assert f"[{NODE_ADDRESS}]" in metrics
    assert any(f"image: {image.reference}\n" in coredns for image in load_versions().images)
