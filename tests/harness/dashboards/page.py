"""What the dashboards show, ``docs/dashboards.md``, written from their panels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from harness.dashboards.every import dashboards
from harness.dashboards.grafana import Dashboard
from harness.pictures.plan import MADE, PICTURES

_INTRODUCTION: Final = """\
<!-- Generated from tests/harness/dashboards by `make generate`. Do not edit. -->
# Dashboards

Three Grafana dashboards come with the project, for Grafana 10.4 and newer. How they get into a
Grafana: [install](install.md#grafana). What is behind their numbers:
[objectives, budgets, cost](slo.md), [metrics of the runtime](runtime.md#metrics),
[metrics of the operator](metrics.md).

| address | for whom |
|---|---|
| `/d/igw-gateway` | whoever was paged: `dashboard_url` of an alert opens it for its gateway |
| `/d/igw-fleet` | the platform team: who needs somebody, and how far a rollout is |
| `/d/igw-operator` | who runs the operator |

They ask only for the gateways' and the operator's own metrics. What an autoscaler decides is seen
as the number of replicas that should run; kube-state-metrics is not needed.

## What the pictures show

`make pictures` has a quarter of an hour happen to real gateways on a real cluster, asks their
Prometheus every query of every panel, and draws the answers as Grafana would; these are no
screenshots of it. The burn-down shows the same quarter of an hour, where Grafana shows 30 days.
Budgets are in relation to the requests of that time: within a month of traffic, the same incident
would cost next to nothing.

"""


def dashboards_page() -> str:
    """The whole page."""
    chapters = "".join(line for each in dashboards() for line in _chapter(each))
    return _INTRODUCTION + "".join(_moments()) + chapters


def _moments() -> Iterator[str]:
    made = json.loads(MADE.read_text())
    yield f"| {made['day']}, UTC | |\n|---|---|\n"
    for at, what in made["moments"]:
        yield f"| {at} | {what} |\n"


def _chapter(dashboard: Dashboard) -> Iterator[str]:
    yield f"\n## {dashboard.title}\n\n{dashboard.description}\n\n"
    for picture in PICTURES:
        if picture.dashboard == dashboard.uid:
            yield f"![{dashboard.title}](images/{picture.file})\n\n*{picture.shows}*\n\n"
    yield "| | panel | what it says |\n|---|---|---|\n"
    for row in dashboard.rows:
        for number, panel in enumerate(row.panels):
            heading = "" if number else f"**{row.title}**"
            yield f"| {heading} | {panel.title} | {panel.description} |\n"
