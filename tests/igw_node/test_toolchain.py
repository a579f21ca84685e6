"""Cache keys: what decides a build is in its name, and nothing else is."""

from dataclasses import replace
from pathlib import Path

import pytest

from localnode.errors import NodeError
from localnode.toolchain import binary_path, compute_key, is_built
from localnode.versions import GoTool

TOOL = GoTool(name="thing", version="1.2.3", packages={"thing": "."}, build_seconds=5, disk_gib=1)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Write the module of a tool."""
    (tmp_path / "go.mod").write_text("module thing\n")
    (tmp_path / "go.sum").write_text("")
    return tmp_path


def test_key_names_tool_and_version(sources: Path) -> None:
    """A person can read the cache's folder names."""
    assert compute_key(TOOL, sources).startswith("thing-1.2.3-")


@pytest.mark.parametrize(
    "changed",
    [
        replace(TOOL, version="1.2.4"),
        replace(TOOL, ldflags="-X a=b"),
        replace(TOOL, tags="netgo"),
        replace(TOOL, packages={"other": "."}),
    ],
    ids=["another version", "other linker flags", "other tags", "other packages"],
)
def test_key_changes_with_the_recipe(sources: Path, changed: GoTool) -> None:
    """A changed recipe is another build."""
    assert compute_key(changed, sources) != compute_key(TOOL, sources)


def test_key_changes_with_the_pinned_dependencies(sources: Path) -> None:
    """A changed go.sum is another build."""
    before = compute_key(TOOL, sources)
    (sources / "go.sum").write_text("example v1 h1:x\n")

    assert compute_key(TOOL, sources) != before


def test_key_ignores_the_estimate(sources: Path) -> None:
    """A better estimate of the time does not build anything again."""
    assert compute_key(replace(TOOL, build_seconds=99), sources) == compute_key(TOOL, sources)


def test_missing_binary_names_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a binary too early is told how to build it."""
    monkeypatch.setenv("IGW_CACHE", str(tmp_path))
    tool = replace(TOOL, name="etcd")

    assert not is_built(tool)
    with pytest.raises(NodeError, match="kind ensure"):
        binary_path(tool, "etcd")
