"""Tools of the tests: the real programs that judge what is rendered and asked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from localnode.toolchain import is_built, tool_folder
from localnode.versions import load_versions


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool, or a failure that says how to get it."""
    return _find("promtool", tool="prometheus")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Path of the Prometheus server, or a failure that says how to get it."""
    return _find("prometheus", tool="prometheus")


@pytest.fixture(scope="session")
def otelcol() -> str:
    """Path of the OpenTelemetry collector, or a failure that says how to get it."""
    return _find("otelcol-contrib", tool="otelcol-contrib")


@pytest.fixture(scope="session")
def update_golden() -> bool:
    """Whether goldens are rewritten instead of compared."""
    return os.environ.get("IGW_UPDATE_GOLDEN") == "1"


def _find(program: str, *, tool: str) -> str:
    """A program: the one named by its variable, the local node's, or the one on the PATH."""
    variable = program.partition("-")[0].upper()
    if named := os.environ.get(variable):
        return named
    part = load_versions().tools.get(tool)
    built: Path | None = tool_folder(part) / "bin" / program if part and is_built(part) else None
    found = str(built) if built and built.exists() else shutil.which(program)
    if not found:
        pytest.fail(f"{program} is missing: run `make parts`, or name it by {variable}")
    return found
