"""The wheel that is built is the project: both packages, typed, runnable."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release builds it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    """Neither tests nor a package named `operator`, which would shadow the standard library."""
    names = zipfile.ZipFile(wheel).namelist()

    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {
        "igw_operator",
        "igw_runtime",
    }
    assert {"igw_operator/py.typed", "igw_runtime/py.typed"} <= set(names)


def test_it_registers_its_architectures(wheel: Path) -> None:
    """As a package of one's own would."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (it for it in archive.namelist() if it.endswith("/entry_points.txt"))

    assert "[igw_runtime.architectures]\nefficientnet_lite0 = " in archive.read(name).decode()


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        ("igw_operator", ["crds"], "CustomResourceDefinition"),
        ("igw_runtime", ["--help"], "serve"),
    ],
)
def test_it_runs_without_the_checkout(
    wheel: Path, module: str, arguments: list[str], says: str
) -> None:
    """Everything that the code reads at run time is in the wheel."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=True,
        capture_output=True,
        cwd=wheel.parent,
        env={"PYTHONPATH": str(wheel)},
        text=True,
    )

    assert says in done.stdout
