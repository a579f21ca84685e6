"""Names of the recorded series, for the rules here and for whoever reads or draws them."""

from __future__ import annotations

from typing import Final

EVENTS_TOTAL: Final = "igw:slo_events_total:sum30s"
EVENTS_BAD: Final = "igw:slo_events_bad:sum30s"
TILE_TOTAL: Final = "igw:slo_events_total:sum10m"
TILE_BAD: Final = "igw:slo_events_bad:sum10m"
BUDGET_REMAINING: Final = "igw:slo_error_budget_remaining:ratio"
OBJECTIVE: Final = "igw:slo_objective:ratio"
COST: Final = "igw:cost_per_1000_predictions:rate1h"
COVERAGE: Final = "igw:slo_window_coverage:ratio"


def ratio_name(window: str) -> str:
    """Name of the record of the error ratio over a window."""
    return f"igw:slo_errors_per_event:ratio_rate{window}"
