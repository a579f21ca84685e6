"""The real programs that judge what is rendered."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from localnode.toolchain import is_built, tool_folder
from localnode.versions import load_versions


def find_program(program: str, *, tool: str) -> str:
    """A program: the one named by its variable, the local node's, or the one on the PATH.

    Without it the test fails, and says how to get it.
    """
    variable = program.partition("-")[0].upper()
    if named := os.environ.get(variable):
        return named
    part = load_versions().tools.get(tool)
    built: Path | None = tool_folder(part) / "bin" / program if part and is_built(part) else None
    found = str(built) if built and built.exists() else shutil.which(program)
    if not found:
        pytest.fail(f"{program} is missing: run `make parts`, or name it by {variable}")
    return found
