"""Tools of the tests: the real programs that judge what is rendered and asked."""

from __future__ import annotations

import os

import pytest

from plan_kit.programs import find_program


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool, or a failure that says how to get it."""
    return find_program("promtool", tool="prometheus")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Path of the Prometheus server, or a failure that says how to get it."""
    return find_program("prometheus", tool="prometheus")


@pytest.fixture(scope="session")
def otelcol() -> str:
    """Path of the OpenTelemetry collector, or a failure that says how to get it."""
    return find_program("otelcol-contrib", tool="otelcol-contrib")


@pytest.fixture(scope="session")
def update_golden() -> bool:
    """Whether goldens are rewritten instead of compared."""
    return os.environ.get("IGW_UPDATE_GOLDEN") == "1"
