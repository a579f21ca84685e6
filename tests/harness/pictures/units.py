"""Numbers and colours as Grafana shows them: value formats, ticks, thresholds, value mappings.

Source: packages/grafana-data/src/valueFormats of Grafana; its light theme's colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

COLOURS: Final = {
    "green": "#3e9e3e",
    "yellow": "#d9a400",
    "orange": "#f2700a",
    "red": "#d92b40",
}
# Of series without a colour of their own, in this order.
PALETTE: Final = (
    *("#56a64b", "#e0b400", "#3274d9", "#ff780a", "#e02f44", "#6ed0e0", "#a352cc", "#8f6b32"),
    *("#19730e", "#1250b0", "#7c2ea3", "#ad0317"),
)
_COUNTED: Final = ((1, ""), (1e3, "K"), (1e6, "M"), (1e9, "B"))
_SCALES: Final[Mapping[str, Sequence[tuple[float, str]]]] = {
    "none": ((1, ""),),
    "short": ((1, ""), (1e3, " K"), (1e6, " Mil"), (1e9, " Bil")),
    "percentunit": ((0.01, "%"),),
    "reqps": tuple((factor, f"{prefix} req/s") for factor, prefix in _COUNTED),
    "ops": tuple((factor, f"{prefix} ops/s") for factor, prefix in _COUNTED),
    "bytes": tuple(
        (1024.0**power, f" {name}") for power, name in enumerate(("B", "KiB", "MiB", "GiB"))
    ),
    "s": (
        *((1e-9, " ns"), (1e-6, " µs"), (1e-3, " ms"), (1, " s")),
        *((60, " min"), (3600, " hour"), (86_400, " day")),
    ),
}
_NICE: Final = (1, 2, 2.5, 5, 10)
_DIGITS: Final = 3


def format_value(
    value: float, unit: str, decimals: int | None = None, *, trims: bool = False
) -> str:
    """A number with its unit: three digits unless decimals are given, whole numbers without any.

    ``trims`` leaves out zeros at the end, as axes do.
    """
    if math.isnan(value):
        return ""
    factor, suffix = find_scale(value, unit)
    # What 64 bits make of a division is nothing that anybody asked for.
    scaled = round(value / factor, 9)
    if decimals is None:
        is_whole = scaled == round(scaled)
        decimals = 0 if is_whole else max(0, _DIGITS - 1 - math.floor(math.log10(abs(scaled))))
    text = f"{scaled:.{decimals}f}"
    if trims and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text + suffix


def find_scale(value: float, unit: str) -> tuple[float, str]:
    """The largest multiple of a unit that a value has at least one of, and its name."""
    scales = _SCALES[unit]
    if not value:
        return next((it for it in scales if it[0] == 1), scales[0])
    return next((it for it in reversed(scales) if abs(value) >= it[0]), scales[0])


def choose_ticks(low: float, high: float, unit: str, *, whole: bool = False) -> list[float]:
    """About five round numbers of a unit, from not above ``low`` to not below ``high``."""
    if low == high:
        low, high = min(low, 0.0), high if high > 0 else low + 1
    factor, _ = find_scale(max(abs(low), abs(high)), unit)
    least = (high - low) / factor / 5
    power = 10.0 ** math.floor(math.log10(least))
    step = next(it * power for it in _NICE if it * power >= least * (1 - 1e-9))
    step = max(1, math.ceil(step)) if whole else step
    first, last = (low / factor / step, high / factor / step)
    numbers = range(math.floor(first + 1e-9), math.ceil(last - 1e-9) + 1)
    return [number * step * factor for number in numbers]


def threshold_colour(steps: Sequence[Mapping[str, Any]], value: float) -> str:
    """The colour of the last step that a value reaches; the first has no value."""
    reached = [it for it in steps if it["value"] is None or value >= it["value"]]
    return COLOURS[reached[-1]["color"]]


def map_value(mappings: Sequence[Mapping[str, Any]], value: float) -> tuple[str, str] | None:
    """Text and colour that a value is shown as, or None if it is shown as a number."""
    for mapping in mappings:
        if found := mapping["options"].get(f"{value:g}"):
            return found["text"], COLOURS[found["color"]]
    return None
