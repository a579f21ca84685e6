"""The model packages that are measured: found where tests keep theirs, or made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.runtime.contestants import find_sources
from bench.runtime.environments import InstallError, find_cache, run_quietly
from igw_runtime.models.artifact import MANIFEST_FILE
from runtime_kit.drafts import draw

MODEL: Final = "resnet50"
_QUANTISED: Final = f"{MODEL}-int8"
_PYTHON: Final = "IGW_EXPORT_PYTHON"
# What int8 answers depends on these pictures; how long it takes does not.
_CALIBRATION: Final = 24
_EVALUATION: Final = 8
_HEIGHT: Final = 240


def ensure_packages(say: Callable[[str], None]) -> dict[str, Path]:
    """Return the package of each precision; int8's is left out where torch is not at hand."""
    models = find_cache() / "models"
    if not (models / MODEL / MANIFEST_FILE).is_file():
        say(f"package {MODEL}")
        _export(models, MODEL)
    packages = {"fp32": models / MODEL, "bf16": models / MODEL}
    if not (models / _QUANTISED / MANIFEST_FILE).is_file() and _PYTHON in os.environ:
        say(f"package {_QUANTISED}")
        with tempfile.TemporaryDirectory(prefix="igw-pictures-") as folder:
            pictures = ["--precision", "int8", *_draw_pictures(Path(folder))]
            _export(models, _QUANTISED, "--architecture", MODEL, *pictures)
    if (models / _QUANTISED / MANIFEST_FILE).is_file():
        packages["int8"] = models / _QUANTISED
    return packages


def _draw_pictures(folder: Path) -> list[str]:
    """Return the options that name a folder of pictures to calibrate with, and one to compare."""
    options = []
    width = _HEIGHT
    for name, count in (("calibration", _CALIBRATION), ("evaluation", _EVALUATION)):
        (folder / name).mkdir()
        for _ in range(count):
            width += 1  # each picture is another, as its size is the seed
            (folder / name / f"{width}.jpg").write_bytes(draw((width, _HEIGHT)))
        options += [f"--{name}", str(folder / name)]
    return options


def _export(models: Path, name: str, *options: str) -> None:
    if _PYTHON not in os.environ:
        message = f"there is no {models / name}; {_PYTHON} names a Python with torch to make it"
        raise SystemExit(message)
    command = [os.environ[_PYTHON], "-m", "igw_runtime", "export", "--model", name]
    try:
        run_quietly(
            [*command, *options, "--output", str(models), "--allow-random-weights"],
            {"PYTHONPATH": find_sources(), "CI": "true", "NNCF_CI": "1"},
        )
    except InstallError as error:
        message = f"{name} was not exported:\n{error}"
        raise SystemExit(message) from error
