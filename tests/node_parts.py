"""The parts of the local node, for tests that need them. A missing one fails the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from localnode.toolchain import is_built, tool_folder
from localnode.versions import load_versions


def need_parts(*names: str) -> None:
    """Fail where one of the parts is not built; a test that was skipped would prove nothing."""
    tools = load_versions().tools
    missing = [name for name in names if not is_built(tools[name])]
    if missing:
        pytest.fail(f"not built: {', '.join(missing)}; run `make parts`", pytrace=False)


def shared_folder(name: str, folder: str) -> Path:
    """A folder of files, such as CRDs, that a part keeps beside its binaries."""
    need_parts(name)
    return tool_folder(load_versions().tools[name]) / "share" / folder
