"""The bench on which rules are tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from plan_kit.prometheus import RuleBench


@pytest.fixture
def bench(promtool: str, tmp_path: Path) -> RuleBench:
    """The rules of a gateway in Prometheus itself."""
    return RuleBench(promtool, tmp_path)
