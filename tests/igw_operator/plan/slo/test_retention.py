"""A Prometheus that keeps less than the window: the coverage says how much is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from factories import a_gateway
from igw_operator.plan.slo.names import COVERAGE, TILE_BAD, TILE_TOTAL, ratio_name
from igw_operator.plan.slo.objective import build_objectives
from plan_kit.history import History, Sample, serve_history
from plan_kit.prometheus import build_groups

pytestmark = pytest.mark.integration

OBJECTIVE = build_objectives(a_gateway())[0]
NOW = datetime(2024, 3, 1, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)
KEPT = timedelta(days=15)


def tiles() -> Iterator[Sample]:
    """What is left of a month, as far as the server keeps it: 1 of 100 requests failed."""
    mark = NOW - KEPT + TEN_MINUTES
    while mark <= NOW:
        at = (mark - timedelta(seconds=20)).timestamp()
        yield Sample(OBJECTIVE.record(TILE_TOTAL), at, 6000.0)
        yield Sample(OBJECTIVE.record(TILE_BAD), at, 60.0)
        mark += TEN_MINUTES


@pytest.fixture(scope="module")
def history(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """Half a month."""
    with serve_history(
        prometheus, promtool, tmp_path_factory.mktemp("retention"), tiles()
    ) as served:
        yield served


def test_half_of_the_window_is_half_of_the_coverage(history: History) -> None:
    """The ratio is that of what is kept, and the coverage says of how much that is."""
    rules = {
        rule["record"]: rule["expr"]
        for group in build_groups()
        for rule in group["rules"]
        if "record" in rule and rule["labels"]["slo"] == "availability"
    }
    (coverage,) = history.ask(rules[COVERAGE], NOW)
    (ratio,) = history.ask(rules[ratio_name("30d")], NOW)

    assert coverage == pytest.approx(0.5, abs=0.001)
    assert ratio == pytest.approx(0.01)
