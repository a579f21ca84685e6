"""Distributions that plug in architectures, installed as a folder on the path."""

from __future__ import annotations

from pathlib import Path

import pytest


def install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, code: str, entry_points: str
) -> None:
    """Install a module and the metadata of its distribution, until the test ends."""
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[igw_runtime.architectures]\n{entry_points}\n")
    monkeypatch.syspath_prepend(folder)
