"""Where results are kept: numbers as JSON, and a page to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.runtime.contestants import ROOT

FOLDER: Final = ROOT / "docs" / "benchmarks"


def keep_results(folder: Path, name: str, results: Mapping[str, Any], page: str) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(_finite(results), indent=2) + "\n")
    (folder / f"{name}.md").write_text(page)


def _finite(content: Any) -> Any:
    """Return what JSON can say: a latency of a request that never ended is null."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
