"""Grafana's dashboard model, as far as ours need it: typed values in, JSON out.

The dashboards beside this file are made of it. Not of grafana-foundation-sdk: its versions are
epochs made of build times (``1769699379!11.6.0``), so that no range can follow its releases.

Source of the JSON's shape: grafana.com/docs/grafana/latest/dashboards/build-dashboards/
view-dashboard-json-model, schema 39 (Grafana 10.4 and newer; older schemas are migrated on load).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "table", "heatmap", "bargauge", "state-timeline"]

COLUMNS: Final = 24
SCHEMA: Final = 39
TAG: Final = "inference-gateway"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"

_PLACE: Final = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a panel."""

    expression: str
    """PromQL with the dashboard's variables and ``$__rate_interval``."""
    legend: str = ""
    shape: Literal["series", "now", "table", "heatmap"] = "series"
    """``now`` and ``table`` are asked for one moment, the others over the time range."""
    exemplars: bool = False
    """Only of raw histograms: records have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From this value on, this colour; the first step has no value."""

    value: float | None = None
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Properties of the series, or columns, whose name matches a pattern."""

    pattern: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel; where it stands follows from its row."""

    title: str
    description: str
    kind: Kind
    unit: str
    """Grafana's name of the unit of its values, such as ``s`` or ``percentunit``."""
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    steps: tuple[Step, ...] = (Step(colour=GREEN),)
    is_stacked: bool = False
    shows_steps: bool = False
    """Whether the steps are drawn as lines."""
    days: int | None = None
    """Shows so many days, whatever the dashboard's time range is."""
    overrides: tuple[Override, ...] = ()
    mappings: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A heading and the panels below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice on top of the dashboard, or a hidden value that queries are made of."""

    name: str
    label: str
    query: str
    """In the words of Grafana's Prometheus data source, such as ``label_values(metric, label)``."""
    pattern: str = ""
    """What of each answer is taken: the first group."""
    has_all: bool = False
    is_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Marks on the time axis, wherever a query has a value."""

    name: str
    expression: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A dashboard, ready to be written."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()
    hours: int = 6
    """The time range that it opens with."""

    def panels(self) -> Iterator[Panel]:
        """All panels, in order."""
        for row in self.rows:
            yield from row.panels


def dashed(pattern: str, colour: str) -> Override:
    """A line to compare with: dashed, in one colour, not filled and not stacked."""
    return Override(
        pattern=pattern,
        properties={
            "color": {"mode": "fixed", "fixedColor": colour},
            "custom.lineStyle": {"fill": "dash", "dash": [8, 6]},
            "custom.fillOpacity": 0,
            "custom.stacking": {"mode": "none", "group": "A"},
        },
    )


def coloured(pattern: str, colour: str) -> Override:
    """Series that keep their colour."""
    return Override(pattern=pattern, properties={"color": {"mode": "fixed", "fixedColor": colour}})


def render(dashboard: Dashboard) -> Json:
    """The dashboard as Grafana imports it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one crosshair in all panels
        "refresh": "1m",
        "time": {"from": f"now-{dashboard.hours}h", "to": "now"},
        "timezone": "",
        "templating": {"list": [_DATASOURCE_CHOICE, *map(_variable, dashboard.variables)]},
        "annotations": {"list": [_annotation(each) for each in dashboard.annotations]},
        "links": [_LINKS],
        "panels": list(_place(dashboard.rows)),
    }


def fill(text: str, values: Mapping[str, str]) -> str:
    """A query with its variables replaced, as Grafana does before it asks.

    Raises:
        KeyError: a variable has no value.
    """
    return _PLACE.sub(lambda found: values[found.group(1)], text)


_DATASOURCE_CHOICE: Final[Json] = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "hide": 0,
    "refresh": 1,
    "current": {},
    "options": [],
}
_LINKS: Final[Json] = {
    "title": "InferenceGateway",
    "type": "dashboards",
    "tags": [TAG],
    "asDropdown": True,
    "includeVars": False,
    "keepTime": True,
    "icon": "external link",
    "targetBlank": False,
    "tooltip": "",
    "url": "",
}


def _variable(variable: Variable) -> Json:
    rendered: Json = {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": variable.query,
        "query": {"query": variable.query, "refId": variable.name},
        "regex": variable.pattern,
        "refresh": 2,  # with the time range, as a gateway of last week may be gone
        "sort": 1,
        "hide": 2 if variable.is_hidden else 0,
        "multi": variable.has_all,
        "includeAll": variable.has_all,
        "current": {},
        "options": [],
    }
    if variable.has_all:
        rendered |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return rendered


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": RED,
        "expr": annotation.expression,
        "step": "1m",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
    }


def _place(rows: Sequence[Row]) -> Iterator[Json]:
    """Rows below each other; within a row, panels flow like words in lines."""
    number, top = 1, 0
    for row in rows:
        yield _heading(number, row.title, top)
        number, top = number + 1, top + 1
        left, line_height = 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, line_height = top + line_height, 0, 0
            yield _panel(number, panel, left, top)
            number, left = number + 1, left + panel.width
            line_height = max(line_height, panel.height)
        top += line_height


def _heading(number: int, title: str, top: int) -> Json:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        "panels": [],
    }


def _panel(number: int, panel: Panel, left: int, top: int) -> Json:
    rendered: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind],
        "targets": [
            _target(ref, query)
            for ref, query in zip(string.ascii_uppercase, panel.queries, strict=False)
        ],
        "transformations": list(panel.transformations),
    }
    if panel.days is not None:
        rendered["timeFrom"] = f"{panel.days}d"
    return rendered


def _target(ref: str, query: Query) -> Json:
    is_now = query.shape in {"now", "table"}
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "format": {"table": "table", "heatmap": "heatmap"}.get(query.shape, "time_series"),
        "instant": is_now,
        "range": not is_now,
        "exemplar": query.exemplars,
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "mappings": list(panel.mappings),
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": step.value, "color": step.colour} for step in panel.steps],
        },
        "custom": _custom(panel),
    }
    limits = {"min": panel.minimum, "max": panel.maximum, "decimals": panel.decimals}
    return defaults | {name: value for name, value in limits.items() if value is not None}


def _custom(panel: Panel) -> Json:
    if panel.kind != "timeseries":
        return {}
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.is_stacked else 8,
        "showPoints": "never",
        "spanNulls": False,  # a gap is a gap: nothing was measured
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if panel.shows_steps else "off"},
    }


def _overrides(panel: Panel) -> list[Json]:
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/{override.pattern}/"},
            "properties": [
                {"id": name, "value": value} for name, value in override.properties.items()
            ],
        }
        for override in panel.overrides
    ]


_REDUCED: Final[Json] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[Mapping[Kind, Json]] = {
    "timeseries": {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _REDUCED,
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": "s"},
    },
    "bargauge": {
        "reduceOptions": _REDUCED,
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "color",
    },
    "state-timeline": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    },
}
