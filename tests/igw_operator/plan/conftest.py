"""Tools of the plan's tests: where promtool is, and whether goldens are rewritten."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool (PROMTOOL or PATH), or a skip that says how to get it."""
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not found:
        pytest.skip("promtool is missing: set PROMTOOL or apt-get install prometheus")
    return found


@pytest.fixture(scope="session")
def update_golden() -> bool:
    """Whether goldens are rewritten instead of compared."""
    return os.environ.get("IGW_UPDATE_GOLDEN") == "1"
