"""Pieces of PromQL that the dashboards share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.dashboards.grafana import Query
from igw_operator.api.windows import Window
from igw_operator.plan.slo.names import OBJECTIVE, ratio_name
from igw_operator.plan.slo.promql import render_selector

_THIS_GATEWAY: Final = {"namespace": "$namespace", "gateway": "$gateway"}
RANGE: Final = "$__rate_interval"


def of_gateway(metric: str, *matchers: str) -> str:
    """A selector of the chosen gateway's series."""
    return render_selector(metric, _THIS_GATEWAY, *matchers)


def rate(selector: str) -> str:
    """A counter's increase a second, over as long as there are surely two samples."""
    return f"rate({selector}[{RANGE}])"


def total(by: str, inner: str) -> str:
    """The sum, by labels."""
    return f"sum by ({by}) ({inner})"


def quantile(share: float, buckets: str, *by: str) -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({share:g}, {total(', '.join(('le', *by)), rate(buckets))})"


def quantiles(buckets: str, *shares: float) -> tuple[Query, ...]:
    """One query for each quantile, named p50 and so on; exemplars with the highest."""
    return tuple(
        Query(
            expression=quantile(share, buckets),
            legend=f"p{share * 100:g}",
            exemplars=share == max(shares),
        )
        for share in shares
    )


def burn_rate(window: str, select: Callable[[str], str]) -> str:
    """The burn rate over a window: 1 spends exactly the budget, and no more."""
    return f"{select(ratio_name(window))} / (1 - {select(OBJECTIVE)})"


def whole_window() -> str:
    """The error ratio over the SLO's own window, whichever of them the gateway has."""
    return " or ".join(of_gateway(ratio_name(window)) for window in Window)
