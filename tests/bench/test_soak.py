from typing import Any

import pytest

from bench.soak.page import build_page, build_table, judge
from bench.soak.readings import fit_slope
from bench.soak.traffic import build_loads


def results(**changes: Any) -> dict[str, Any]:
    """Return what a good run finds."""
    machine = {"processor": "p", "cores": 2, "kernel": "6", "python": "3.11", "commit": "c"}
    before_after = {"before": 20, "most": 60, "after": 21}
    found: dict[str, Any] = {
        "date": "today",
        "machine": machine,
        "seconds": 600,
        "requests": {"good pictures": 1000, "damaged": 10},
        "statuses": {"good pictures": {}, "damaged": {"422": 8, "504": 1}},
        "slowest_seconds": 0.2,
        "rude": {"stall": 5},
        "rss_mib": {"before": 100.0, "most": 130.0, "after": 120.0},
        "slope_mib_per_minute": 0.1,
        "files": before_after,
        "threads": before_after,
        "probe_seconds": 0.05,
        "probes": 600,
        "in_system": 0.0,
        "exit_code": 0,
        "stop_seconds": 0.5,
        "errors_logged": {},
    }
    return found | changes


def test_slope_is_that_of_the_line() -> None:
    """Of points on a line, and of noise around one."""
    assert fit_slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert fit_slope([(0, 1.1), (1, 0.9), (2, 0.9), (3, 1.1)]) == pytest.approx(0)


def test_good_run_is_not_complained_about() -> None:
    """A damaged request may be refused, or have a deadline that cannot be met."""
    assert judge(results()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"statuses": {"good pictures": {"503": 1}}}, "good requests failed"),
        ({"statuses": {"damaged": {"500": 1}}}, "the server failed"),
        ({"statuses": {"damaged": {"no answer within 30 s": 1}}}, "the server failed"),
        ({"rude": {"stall: still there after 15 s": 1}}, "kept for ever"),
        ({"errors_logged": {"request_failed": 1}}, "errors in the log"),
        ({"probe_seconds": 10.0}, "no answer"),
        ({"slope_mib_per_minute": 2.0}, "grew"),
        ({"files": {"before": 20, "most": 90, "after": 60}}, "files stayed open"),
        ({"threads": {"before": 20, "most": 90, "after": 60}}, "threads stayed"),
        ({"in_system": 1.0}, "in the queue"),
        ({"exit_code": -9}, "did not end well"),
    ],
)
def test_every_bound_is_held_to(changes: dict[str, Any], said: str) -> None:
    """What was found wrong is said in a sentence."""
    assert any(said in sentence for sentence in judge(results(**changes)))


def test_short_run_is_not_judged_by_its_slope() -> None:
    """It rehearses; everything else is as in a full one."""
    assert judge(results(seconds=60, slope_mib_per_minute=3.0)) == []


def test_page_has_what_was_measured_and_where() -> None:
    """Table, traffic, machine."""
    page = build_page(results())

    assert build_table(results()) in page
    assert "| Growth of resident memory | ≤ 0.5 MiB a minute | +0.10 MiB a minute |" in page
    assert "| damaged: 10 | 200, or 4xx | 422: 8, 504: 1 |" in page
    assert "10 minutes of traffic" in page


def test_loads_are_within_what_one_server_answers() -> None:
    """What fails must fail for another reason than that it was too much."""
    loads = build_loads(8080, 600)

    assert sum(load.rate for load in loads.values()) < 100
    assert {name.split()[0] for name in loads} == {"good", "damaged", "oversized"}
