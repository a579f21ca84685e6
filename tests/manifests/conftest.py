"""What the manifests become: kustomize builds, parsed once for a whole run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml

from igw_operator.api.objects import Manifest
from plan_kit.programs import find_program

ROOT = Path(__file__).parents[2]
Build = Callable[[str], Sequence[Manifest]]


def kubectl() -> str | None:
    """Path of kubectl: the one on PATH, or the local node's."""
    found = shutil.which("kubectl")
    if found:
        return found
    node = ROOT / "tests" / "node" / "kind"
    asked = subprocess.run([node, "get", "path", "kubectl"], capture_output=True, check=False)
    path = Path(asked.stdout.decode().strip())
    return str(path) if asked.returncode == 0 and path.is_file() else None


@cache
def _build(folder: str) -> tuple[Manifest, ...]:
    binary = kubectl()
    if binary is None:
        pytest.fail("there is no kubectl on this machine: run `make parts`, or install it")
    done = subprocess.run(
        [binary, "kustomize", ROOT / folder], capture_output=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr.decode()
    return tuple(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session")
def build() -> Build:
    """Build a folder of the repository; the result must not be changed."""
    return _build


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool, or a failure that says how to get it."""
    return find_program("promtool", tool="prometheus")
