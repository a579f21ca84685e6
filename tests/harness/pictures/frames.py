"""What Grafana makes of answers before it draws them: places, lines, tables, buckets.

Panels are those of the shipped JSON files; answers are the ``result`` of Prometheus' HTTP API, one
for each target of the panel.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

Json = dict[str, Any]
Answer = Sequence[Mapping[str, Any]]

_COLUMNS: Final = 24
_CELL: Final = 30
_GAP: Final = 8


class Box(NamedTuple):
    """A place in a picture, in pixels from its left upper corner."""

    left: float
    top: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The box without its margins."""
        width, height = self.width - left - right, self.height - top - bottom
        return Box(self.left + left, self.top + top, width, height)


class Series(NamedTuple):
    """A line of a panel: one value for each moment, NaN where there is none."""

    name: str
    values: Sequence[float]
    properties: Mapping[str, Any]

    @property
    def measured(self) -> list[float]:
        """The values that are there."""
        return [it for it in self.values if not math.isnan(it)]


def place(grid: Mapping[str, int], width: float) -> Box:
    """Where Grafana puts a cell of its grid on a page of a width."""
    across, down = (width + _GAP) / _COLUMNS, _CELL + _GAP
    return Box(
        grid["x"] * across, grid["y"] * down, grid["w"] * across - _GAP, grid["h"] * down - _GAP
    )


def select_rows(dashboard: Json, titles: Sequence[str]) -> list[Json]:
    """The rows of these titles with their panels, all if there are none; the first is on top."""
    chosen: list[Json] = []
    title = ""
    for panel in dashboard["panels"]:
        title = panel["title"] if panel["type"] == "row" else title
        if not titles or title in titles:
            chosen.append(panel)
    top = chosen[0]["gridPos"]["y"]
    return [it | {"gridPos": it["gridPos"] | {"y": it["gridPos"]["y"] - top}} for it in chosen]


def list_series(panel: Json, answers: Sequence[Answer], times: Sequence[float]) -> list[Series]:
    """The lines of a panel, in the order of its targets."""
    found = []
    for target, answer in zip(panel["targets"], answers, strict=True):
        for each in answer:
            name = name_series(target["legendFormat"], each["metric"])
            values = _align(each, times)
            found.append(Series(name, values, find_properties(panel, name)))
    return [it for it in found if it.measured]


def list_latest(panel: Json, answers: Sequence[Answer]) -> list[tuple[str, float]]:
    """Names and values of a panel that shows one moment."""
    return [
        (name_series(target["legendFormat"], each["metric"]), float(each["value"][1]))
        for target, answer in zip(panel["targets"], answers, strict=True)
        for each in answer
        if math.isfinite(float(each["value"][1]))
    ]


def build_table(panel: Json, answers: Sequence[Answer]) -> tuple[list[str], list[list[Any]]]:
    """Header and lines of a table, after the panel's transformations."""
    one = len(answers) == 1
    names = ["Value" if one else f"Value #{target['refId']}" for target in panel["targets"]]
    merged: dict[tuple[tuple[str, str], ...], Json] = {}
    for name, answer in zip(names, answers, strict=True):
        for each in answer:
            labels = sorted(each["metric"].items())
            merged.setdefault(tuple(labels), dict(labels))[name] = float(each["value"][1])
    lines = list(merged.values())
    header = [*dict.fromkeys(label for key in merged for label, _ in key), *names]
    for transformation in panel["transformations"]:
        options = transformation["options"]
        if transformation["id"] == "organize":
            renamed = options["renameByName"]
            header = [renamed.get(it, it) for it in header if it not in options["excludeByName"]]
            lines = [{renamed.get(it, it): value for it, value in line.items()} for line in lines]
        elif transformation["id"] == "sortBy":
            by = options["sort"][0]["field"]
            lines.sort(key=lambda line: line.get(by, math.inf))
    return header, [[line.get(column) for column in header] for line in lines]


def split_buckets(answer: Answer, times: Sequence[float]) -> tuple[list[str], list[list[float]]]:
    """Upper bounds of a histogram's buckets, and how many were in each of them at each time."""
    cumulative = sorted(answer, key=lambda it: float(it["metric"]["le"]))
    upto = [[0.0] * len(times), *(_align(each, times, missing=0.0) for each in cumulative)]
    counts = [
        [max(0.0, high - low) for high, low in zip(row, below, strict=True)]
        for below, row in itertools.pairwise(upto)
    ]
    return [it["metric"]["le"] for it in cumulative], counts


def name_series(legend: str, labels: Mapping[str, str]) -> str:
    """A series' name: its legend, filled in."""
    if legend == "__auto":
        return ""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)


def find_properties(panel: Json, name: str) -> Json:
    """What the panel's overrides say of a series or column."""
    return {
        it["id"]: it["value"]
        for override in panel["fieldConfig"]["overrides"]
        if re.search(override["matcher"]["options"].strip("/"), name)
        for it in override["properties"]
    }


def list_spans(values: Sequence[float]) -> Iterator[tuple[int, int, float]]:
    """Stretches of the same value: first index, index behind the last, value; gaps left out."""
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[start]:
            if not math.isnan(values[start]):
                yield start, end, values[start]
            start = end


def _align(
    series: Mapping[str, Any], times: Sequence[float], missing: float = math.nan
) -> list[float]:
    values = {at: float(value) for at, value in series["values"] if math.isfinite(float(value))}
    return [values.get(at, missing) for at in times]
