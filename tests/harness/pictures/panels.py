"""Panels as Grafana's light theme shows them, drawn with matplotlib, one function for each kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D

from harness.pictures.frames import (
    Answer,
    Box,
    Json,
    Series,
    build_table,
    find_properties,
    list_latest,
    list_series,
    list_spans,
    split_buckets,
)
from harness.pictures.units import (
    COLOURS,
    PALETTE,
    choose_ticks,
    format_value,
    map_value,
    threshold_colour,
)

FAINT: Final = "#6e7681"
STRONG: Final = "Strong"
"""The typeface of titles."""
_TEXT: Final = "#24292e"
_RULE: Final = "#e4e7ea"
_LINE: Final = 17
_MOST_IN_LEGEND: Final = 6
_DOTS: Final[Json] = {"s": 9, "color": "#8f3bb8", "marker": "D", "zorder": 4, "linewidths": 0}


class Page:
    """A figure whose unit is the pixel, counted from its left upper corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="#f4f5f5")
        shrink = Affine2D().scale(1 / width, -1 / height).translate(0, 1)
        self._pixels = shrink + self.figure.transFigure

    def write(
        self, text: str, left: float, top: float, *, most: float = math.inf, **style: Any
    ) -> float:
        """Write text, centred on a height; return its width. One wider than ``most`` is cut."""
        style = {"fontsize": 12, "color": _TEXT, "va": "center_baseline", **style}
        style["fontsize"] *= 0.72  # points
        artist = self.figure.text(left, top, text, transform=self._pixels, **style)
        while (width := float(artist.get_window_extent().width)) > most:
            text = text[:-1]
            artist.set_text(text.rstrip() + "…")
        return width

    def fill(self, box: Box, colour: str, edge: str = "none") -> None:
        """Draw a rectangle, below everything else."""
        style: Json = {"facecolor": colour, "edgecolor": edge, "linewidth": 0.7, "zorder": -1}
        self.figure.add_artist(Rectangle(box[:2], *box[2:], transform=self._pixels, **style))

    def axes(self, box: Box) -> Axes:
        """Axes without a frame, with a fine grid, in a place."""
        bottom = 1 - (box.top + box.height) / self.height
        size = (box.width / self.width, box.height / self.height)
        axes = self.figure.add_axes((box.left / self.width, bottom, *size), facecolor="none")
        axes.spines[:].set_visible(False)
        axes.grid(visible=True, color=_RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=11 * 0.72, labelcolor=FAINT, pad=4)
        return axes


class Answered:
    """A panel, what was answered to it, when, and the page that it is drawn on."""

    def __init__(self, panel: Json, kept: Json, times: Sequence[float], page: Page) -> None:
        self.panel, self.times, self.page = panel, times, page
        self.answers: Sequence[Answer] = kept["panels"][str(panel["id"])]
        self.dots = [
            (it["timestamp"], float(it["value"])) for it in kept["exemplars"][str(panel["id"])]
        ]
        self.alerts: Answer = kept["annotations"]
        self.defaults: Json = panel["fieldConfig"]["defaults"]
        self.steps: Sequence[Json] = self.defaults["thresholds"]["steps"]

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was answered is a number that can be drawn."""
        series = [it for answer in self.answers for it in answer]
        points = [it.get("values", [it.get("value")]) for it in series]
        return not any(math.isfinite(float(value)) for each in points for _, value in each)

    def format(self, value: float) -> str:
        """A value as the panel's legend shows it."""
        return format_value(value, self.defaults["unit"], self.defaults.get("decimals"))


def draw_panel(it: Answered, box: Box) -> None:
    """The card, its title and its content."""
    it.page.fill(box, "white", edge="#dcdee1")
    it.page.write(it.panel["title"], box.left + 10, box.top + 16, fontsize=13, family=STRONG)
    if it.is_empty:
        middle = (box.left + box.width / 2, box.top + box.height / 2)
        it.page.write("No data", *middle, color=FAINT, ha="center")
    else:
        _KINDS[it.panel["type"]](it, box.inside(10, 38, 10, 8))


def _draw_timeseries(it: Answered, box: Box) -> None:
    series = list_series(it.panel, it.answers, it.times)
    colours = [
        COLOURS[each.properties["color"]["fixedColor"]]
        if "color" in each.properties
        else PALETTE[number % len(PALETTE)]
        for number, each in enumerate(series)
    ]
    rest = _draw_legend(it, box, series, colours)
    styles = [
        it.defaults["custom"]
        | {name.removeprefix("custom."): value for name, value in each.properties.items()}
        for each in series
    ]
    bands = _stack(series, [style["stacking"]["mode"] == "normal" for style in styles])
    heights = [top for _, tops in bands for top in tops if not math.isnan(top)]
    axes = _prepare_axes(it, rest, heights)
    for number, ((base, tops), style) in enumerate(zip(bands, styles, strict=True)):
        dashes = style.get("lineStyle", {}).get("dash", ())
        line = (0, [length / 2 for length in dashes]) if dashes else "-"
        look: Json = {"color": colours[number], "zorder": 3 - number / 100}
        axes.plot(it.times, tops, linewidth=1.2, linestyle=line, clip_on=False, **look)
        axes.fill_between(
            it.times, base, tops, alpha=style["fillOpacity"] / 100, linewidth=0, **look
        )
    if it.defaults["custom"]["thresholdsStyle"]["mode"] == "line":
        for step in it.steps[1:]:
            axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=1)
    for dot in it.dots:
        axes.scatter(*dot, **_DOTS)
    # Grafana's annotations: a dashed line where an alert began, and one at its end.
    for alert in it.alerts:
        first, last = alert["values"][0][0], alert["values"][-1][0]
        axes.axvspan(first, last, color=COLOURS["red"], alpha=0.05, linewidth=0)
        for at in {first, last} - {it.times[-1]}:
            axes.axvline(at, color=COLOURS["red"], linewidth=0.8, linestyle=(0, (3, 2)))


def _stack(
    series: Sequence[Series], stacked: Sequence[bool]
) -> list[tuple[list[float], list[float]]]:
    """Where the area of each series begins and ends."""
    bands, below = [], [0.0] * len(series[0].values)
    for each, is_stacked in zip(series, stacked, strict=True):
        base = below if is_stacked else [0.0] * len(below)
        tops = [low + value for low, value in zip(base, each.values, strict=True)]
        if is_stacked:
            below = [low if math.isnan(top) else top for low, top in zip(base, tops, strict=True)]
        bands.append((base, tops))
    return bands


def _draw_legend(it: Answered, box: Box, series: Sequence[Series], colours: Sequence[str]) -> Box:
    """A table below the plot; return the place that is left for the plot."""
    lines = list(zip(series, colours, strict=True))
    left_out = 0
    if len(lines) > _MOST_IN_LEGEND:
        lines.sort(key=lambda pair: -max(pair[0].measured))
        left_out = len(lines) - _MOST_IN_LEGEND + 1
    height = _LINE * (1 + min(len(lines), _MOST_IN_LEGEND))
    line, right = box.top + box.height - height + _LINE / 2, box.left + box.width
    values = [value for each in series for value in (each.measured[-1], max(each.measured))]
    column = max(46, 14 + 6.2 * max(len(it.format(value)) for value in values))
    last = right - column
    for title, end in (("Last *", last), ("Max", right)):
        it.page.write(title, end, line, fontsize=11, color=FAINT, ha="right")
    for each, colour in lines[: len(lines) - left_out]:
        line += _LINE
        it.page.fill(Box(box.left, line - 2, 12, 3), colour)
        it.page.write(
            each.name, box.left + 18, line, fontsize=11.5, most=2 * last - right - box.left - 24
        )
        for value, end in ((each.measured[-1], last), (max(each.measured), right)):
            it.page.write(it.format(value), end, line, fontsize=11.5, ha="right")
    if left_out:
        text = f"and {left_out} more"
        it.page.write(text, box.left + 18, line + _LINE, fontsize=11.5, color=FAINT)
    return box.inside(0, 0, 0, height + 8)


def _prepare_axes(it: Answered, box: Box, values: Sequence[float]) -> Axes:
    """Axes with round ticks in the panel's unit, and times of day below."""
    low, high = min(values), max(values)
    low = min(low, it.defaults.get("min", low))
    high = max(high, it.defaults.get("max", high))
    unit = it.defaults["unit"]
    ticks = choose_ticks(low, high, unit, whole=it.defaults.get("decimals") == 0)
    if "max" in it.defaults:
        ticks = [tick for tick in ticks if tick <= high * (1 + 1e-9)]
    labels = [format_value(tick, unit, trims=True) for tick in ticks]
    room = 8 + 6.2 * max(map(len, labels))
    axes = it.page.axes(box.inside(room, 0, 4, 20))
    axes.set_yticks(ticks, labels)
    axes.set_ylim(ticks[0], max(ticks[-1], high))
    _show_times(it, axes, box.width - room)
    return axes


def _show_times(it: Answered, axes: Axes, width: float) -> None:
    start, end = it.times[0], it.times[-1]
    step = next(it for it in (60, 120, 300, 600, 3600) if (end - start) / it * 48 <= width)
    ticks = range(math.ceil(start / step) * step, int(end) + 1, step)
    axes.set_xticks(ticks, [f"{datetime.fromtimestamp(tick, UTC):%H:%M}" for tick in ticks])
    axes.set_xlim(start, end)


def _draw_stat(it: Answered, box: Box) -> None:
    latest = list_latest(it.panel, it.answers)
    width = box.width / len(latest)
    for number, (name, value) in enumerate(latest):
        text, middle = it.format(value), box.left + (number + 0.5) * width
        if name:
            it.page.write(name, middle, box.top + box.height * 0.15, fontsize=13, ha="center")
        style: Json = {
            "fontsize": min(34.0, box.height * 0.5, 1.4 * width / max(4, len(text))),
            "color": threshold_colour(it.steps, value),
        }
        line = box.top + box.height * (0.55 if name else 0.42)
        it.page.write(text, middle, line, ha="center", family=STRONG, **style)


def _draw_table(it: Answered, box: Box) -> None:
    header, rows = build_table(it.panel, it.answers)
    cells = [[_show_cell(it, *pair) for pair in zip(header, row, strict=True)] for row in rows]
    columns = zip(header, zip(*cells, strict=True), strict=True)
    longest = [
        3 + min(18, max(len(name), *(len(text) for text, _ in column))) for name, column in columns
    ]
    left = box.left
    for column, (name, length) in enumerate(zip(header, longest, strict=True)):
        width = box.width * length / sum(longest)
        it.page.write(name, left, box.top + 8, color="#1f60c4", family=STRONG)
        for number, row in enumerate(cells):
            text, colour = row[column]
            it.page.write(text, left, box.top + 36 + 28 * number, color=colour, most=width - 2)
        left += width
    for number in range(len(cells)):
        it.page.fill(Box(box.left, box.top + 22 + 28 * number, box.width, 1), _RULE)


def _show_cell(it: Answered, column: str, value: Any) -> tuple[str, str]:
    """A cell's text and colour."""
    if value is None or isinstance(value, str):
        return value or "", _TEXT
    own = find_properties(it.panel, column)
    if mapped := map_value(own.get("mappings", ()), value):
        return mapped
    steps = own["thresholds"]["steps"] if "thresholds" in own else ()
    all_ = it.defaults | own
    text = format_value(value, all_["unit"], all_.get("decimals"))
    return text, threshold_colour(steps, value) if steps else _TEXT


def _draw_heatmap(it: Answered, box: Box) -> None:
    bounds, counts = split_buckets(it.answers[0], it.times)
    limits = [float(bound) for bound in bounds]
    names = [format_value(it, "s", trims=True) if it < math.inf else "+Inf" for it in limits]
    axes = it.page.axes(box.inside(52, 0, 4, 20))
    edges = [it.times[0] - (it.times[1] - it.times[0]), *it.times]
    filled = [[value if value > 1e-9 else math.nan for value in row] for row in counts]
    highest = max(map(max, counts))
    norm = PowerNorm(0.5, vmin=-highest * 0.02, vmax=highest)
    style: Json = {"cmap": "Oranges", "norm": norm, "edgecolor": "white", "linewidth": 0.3}
    axes.pcolormesh(edges, range(len(bounds) + 1), filled, **style)
    every = math.ceil(len(bounds) / 9)
    axes.set_yticks(range(1, len(bounds) + 1, every), names[::every])
    axes.set_ylim(0, len(bounds))
    _show_times(it, axes, box.width - 56)
    for at, value in it.dots:
        row = next(number for number, limit in enumerate(limits) if value <= limit)
        axes.scatter(at, row + 0.5, **_DOTS)


def _draw_bars(it: Answered, box: Box) -> None:
    latest = sorted(list_latest(it.panel, it.answers), key=lambda pair: -pair[1])
    height, most = box.height / len(latest), latest[0][1]
    names = 0.3 * box.width
    for number, (name, value) in enumerate(latest):
        middle, colour = box.top + (number + 0.5) * height, threshold_colour(it.steps, value)
        it.page.write(name, box.left + names - 10, middle, ha="right", most=names - 14)
        thickness = min(22, height * 0.8)
        bar = Box(box.left + names, middle - thickness / 2, box.width - names - 60, thickness)
        it.page.fill(bar, "#f0f1f2")
        it.page.fill(bar._replace(width=bar.width * value / most), colour)
        text = it.format(value)
        it.page.write(text, box.left + box.width, middle, color=colour, ha="right")


def _draw_states(it: Answered, box: Box) -> None:
    """Names stand above their bars: those of alerts are long."""
    series = list_series(it.panel, it.answers, it.times)
    axes = it.page.axes(box.inside(4, 0, 4, 44))
    axes.grid(visible=False)
    step = it.times[1] - it.times[0]
    states: dict[str, str] = {}
    height = (box.height - 44) / len(series)
    for row, each in enumerate(series):
        it.page.write(each.name, box.left, box.top + row * height + 8, fontsize=11, most=box.width)
        for first, end, value in list_spans(each.values):
            text, colour = map_value(it.defaults["mappings"], value) or (f"{value:g}", FAINT)
            states[text] = colour
            bar = (it.times[first], (end - first) * step)
            thickness = min(26, height - 22) / height
            axes.broken_barh([bar], (row + 17 / height, thickness), color=colour, alpha=0.9)
    axes.set_yticks([])
    axes.set_ylim(len(series), 0)
    _show_times(it, axes, box.width)
    left, line = box.left, box.top + box.height - 8
    for text, colour in states.items():
        it.page.fill(Box(left, line - 2, 12, 3), colour)
        left += 34 + it.page.write(text, left + 18, line, fontsize=11.5)


_KINDS: Final[Mapping[str, Callable[[Answered, Box], None]]] = {
    "timeseries": _draw_timeseries,
    "stat": _draw_stat,
    "table": _draw_table,
    "heatmap": _draw_heatmap,
    "bargauge": _draw_bars,
    "state-timeline": _draw_states,
}
