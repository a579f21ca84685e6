"""Draw the dashboards from the answers that ``harness.pictures.story`` kept: docs/images.

The second half of ``make pictures``, in an environment of its own, with matplotlib. Of the
dashboards it knows the shipped JSON files only, as Grafana does.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import fontpkg
import matplotlib as mpl
from fontTools.ttLib import TTFont
from fontTools.varLib.instancer import instantiateVariableFont
from matplotlib import font_manager
from PIL import Image

from harness.pictures.frames import Box, Json, place, select_rows
from harness.pictures.panels import FAINT, STRONG, Answered, Page, draw_panel
from harness.pictures.plan import ANSWERS, DASHBOARDS, IMAGES, PICTURES, Picture

_WIDTH: Final = 1100
_MARGIN: Final = 12
_HEAD: Final = 44
_SCALE: Final = 1.5
_MOST_BYTES: Final = 250_000


def main() -> None:
    """Write every picture; exits with a message if one is too large."""
    kept = json.loads(ANSWERS.read_text())
    with tempfile.TemporaryDirectory() as folder:
        _load_font(Path(folder), "Regular", 400)
        _load_font(Path(folder), STRONG, 600)
        mpl.rcParams.update({"font.family": "Regular", "text.parse_math": False})
        for picture in PICTURES:
            content = _draw(picture, kept)
            if len(content) > _MOST_BYTES:
                sys.exit(f"{picture.file} is too large: {len(content)} bytes")
            (IMAGES / picture.file).write_bytes(content)


def _load_font(folder: Path, name: str, weight: int) -> None:
    """Grafana's typeface in a weight, as a family: matplotlib takes no variable font as such."""
    font = instantiateVariableFont(TTFont(fontpkg.path("Inter")), {"wght": weight, "opsz": 14})
    font["OS/2"].usWeightClass = 400
    for record in font["name"].names:
        if record.nameID in (1, 16):  # its family
            record.string = name
    font.save(folder / f"{name}.ttf")
    font_manager.fontManager.addfont(folder / f"{name}.ttf")


def _draw(picture: Picture, kept: Json) -> bytes:
    dashboard = json.loads((DASHBOARDS / f"{picture.dashboard}.json").read_text())
    answers, times = kept["dashboards"][picture.dashboard], kept["times"]
    panels = select_rows(dashboard, picture.rows)
    boxes = [place(panel["gridPos"], _WIDTH - 2 * _MARGIN) for panel in panels]
    page = Page(_WIDTH, _HEAD + _MARGIN + max(box.top + box.height for box in boxes))
    _write_head(page, dashboard, answers["values"], times)
    for panel, box in zip(panels, boxes, strict=True):
        moved = box._replace(left=box.left + _MARGIN, top=box.top + _HEAD)
        if panel["type"] == "row":
            page.write(panel["title"], moved.left + 2, moved.top + 17, fontsize=15, family=STRONG)
        else:
            draw_panel(Answered(panel, answers, times, page), moved)
    return _compress(page)


def _write_head(page: Page, dashboard: Json, values: Mapping[str, str], times: list[int]) -> None:
    page.fill(Box(0, 0, page.width, _HEAD - 8), "white")
    left = _MARGIN + 2.0
    left += 24 + page.write(dashboard["title"], left, 18, fontsize=15, family=STRONG)
    for variable in dashboard["templating"]["list"]:
        if not variable["hide"] and variable["name"] in values:
            left += 6 + page.write(variable["label"], left, 18, color=FAINT)
            shown = values[variable["name"]].replace("|", " + ").replace(".*", "All")
            left += 20 + page.write(shown, left, 18, family=STRONG)
    start, end = (datetime.fromtimestamp(at, UTC) for at in (times[0], times[-1]))
    text = f"{start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"
    page.write(text, page.width - _MARGIN - 2, 18, ha="right")


def _compress(page: Page) -> bytes:
    """PNG with a palette: a third of the bytes, and nobody sees the difference."""
    drawn, written = io.BytesIO(), io.BytesIO()
    page.figure.savefig(drawn, format="png", dpi=100 * _SCALE)
    small: Any = Image.open(drawn).convert("RGB").quantize(kmeans=2, dither=Image.Dither.NONE)
    small.save(written, format="png", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
