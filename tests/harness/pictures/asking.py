"""Ask Prometheus what Grafana would ask it for the shipped dashboards, and keep the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.dashboards.grafana import fill

Json = dict[str, Any]
Ask = Callable[..., Any]
"""Takes an endpoint of Prometheus' HTTP API and its parameters, and returns the data."""

# How often monitors are scraped: of a quarter of an hour, Grafana asks for each scrape.
STEP: Final = 15


def ask_dashboard(ask: Ask, dashboard: Json, chosen: Mapping[str, str], times: range) -> Json:
    """The answers to all targets and annotations, and the values of the variables.

    Raises:
        CommandError: Prometheus refused a query.
    """
    values = fill_variables(dashboard, chosen)
    between = {"start": str(times[0]), "end": str(times[-1])}

    def ask_range(promql: str) -> Any:
        return ask("query_range", query=promql, step=str(times.step), **between)["result"]

    def ask_target(target: Json) -> Any:
        promql = fill(target["expr"], values)
        if target["instant"]:
            return ask("query", query=promql, time=between["end"])["result"]
        return ask_range(promql)

    def ask_exemplars(target: Json) -> list[Json]:
        found = ask("query_exemplars", query=fill(target["expr"], values), **between)
        return [it for series in found for it in series["exemplars"]]

    panels = {str(panel["id"]): panel.get("targets", ()) for panel in dashboard["panels"]}
    return {
        "values": values,
        "panels": {key: [ask_target(it) for it in targets] for key, targets in panels.items()},
        "exemplars": {
            key: [dot for it in targets if it["exemplar"] for dot in ask_exemplars(it)]
            for key, targets in panels.items()
        },
        "annotations": [
            series
            for annotation in dashboard["annotations"]["list"]
            for series in ask_range(fill(annotation["expr"], values))
        ],
    }


def fill_variables(dashboard: Json, chosen: Mapping[str, str]) -> dict[str, str]:
    """The values of a dashboard's variables: as chosen, or all there are.

    Raises:
        KeyError: nothing is chosen where all is no choice.
    """
    values = {"__rate_interval": f"{4 * STEP}s"}
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "query":
            values[name] = chosen.get(name) or variable["allValue"]
    return values
