"""Everything that a dashboard asks Prometheus, for tests that ask it in its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness.dashboards.grafana import Dashboard, fill

_LABEL_VALUES: Final = re.compile(r"label_values\((.+), (\w+)\)")
_QUERY_RESULT: Final = re.compile(r"query_result\((.+)\)")
_RATE_INTERVAL: Final = {"__rate_interval": "5m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question, and where it stands."""

    place: str
    expression: str
    legend: str = ""

    def fill(self, values: Mapping[str, str]) -> str:
        """PromQL with the dashboard's variables set; rates are over five minutes."""
        return fill(self.expression, {**_RATE_INTERVAL, **values})


def list_asked(dashboard: Dashboard) -> Iterator[Asked]:
    """The queries of its panels, annotations and variables."""
    for row in dashboard.rows:
        for panel in row.panels:
            place = f"{dashboard.uid}: {row.title}: {panel.title}"
            for query in panel.queries:
                yield Asked(place=place, expression=query.expression, legend=query.legend)
    for annotation in dashboard.annotations:
        yield Asked(
            place=f"{dashboard.uid}: annotation {annotation.name}",
            expression=annotation.expression,
            legend=annotation.title + annotation.text,
        )
    for variable in dashboard.variables:
        place = f"{dashboard.uid}: variable {variable.name}"
        yield Asked(place=place, expression=_as_promql(variable.query))


def _as_promql(query: str) -> str:
    """What the data source makes of a variable's query."""
    if found := _LABEL_VALUES.fullmatch(query):
        return f"count by ({found[2]}) ({found[1]})"
    if found := _QUERY_RESULT.fullmatch(query):
        return found[1]
    message = f"neither label_values nor query_result: {query}"
    raise ValueError(message)
