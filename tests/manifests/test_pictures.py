"""Pictures of the dashboards: numbers, colours, tables and places as Grafana has them.

Drawing itself is what `make pictures` does.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Final

import pytest

from harness.dashboards.every import FOLDER
from harness.pictures.asking import ask_dashboard, fill_variables
from harness.pictures.frames import (
    build_table,
    find_properties,
    list_latest,
    list_series,
    list_spans,
    name_series,
    place,
    select_rows,
    split_buckets,
)
from harness.pictures.plan import IMAGES, MADE, PICTURES
from harness.pictures.units import (
    COLOURS,
    choose_ticks,
    format_value,
    map_value,
    threshold_colour,
)

DASHBOARDS: Final = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
CHOSEN: Final = {"namespace": "demo", "gateway": "photos", "threshold": "0.3"}
TIMES: Final = (0.0, 15.0, 30.0)
NAN: Final = math.nan


def a_panel(title: str, uid: str = "igw-gateway") -> dict[str, Any]:
    """A panel of a shipped dashboard."""
    (panel,) = (it for it in DASHBOARDS[uid]["panels"] if it["title"] == title)
    return dict(panel)


def over_time(*values: float, at: float = 0, **labels: str) -> dict[str, Any]:
    """A series of a range query, a value every fifteen seconds."""
    points = [[at + 15 * number, str(value)] for number, value in enumerate(values)]
    return {"metric": labels, "values": points}


def now(value: float, **labels: str) -> dict[str, Any]:
    """A series of an instant query."""
    return {"metric": labels, "value": [0, str(value)]}


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0, "s", None, "0 s"),
        (0.0123, "s", None, "12.3 ms"),
        (0.3, "s", None, "300 ms"),
        (42e-6, "s", None, "42 µs"),
        (90, "s", None, "1.50 min"),
        (7200, "s", None, "2 hour"),
        (8.0213, "reqps", None, "8.02 req/s"),
        (1234, "ops", None, "1.23K ops/s"),
        (0.9951, "percentunit", 2, "99.51%"),
        (-1.5, "percentunit", 1, "-150.0%"),
        (0.5, "percentunit", None, "50%"),
        (89_128_960, "bytes", None, "85 MiB"),
        (1500, "short", None, "1.50 K"),
        (0.1 + 0.2, "short", None, "0.300"),
        (0.00473, "none", 4, "0.0047"),
        (NAN, "s", None, ""),
    ],
)
def test_numbers_have_the_unit_that_reads_best(
    value: float, unit: str, decimals: int | None, text: str
) -> None:
    """Three digits, or as many decimals as the panel asks for."""
    assert format_value(value, unit, decimals) == text


def test_every_unit_of_the_dashboards_is_known() -> None:
    """One that is not would end the drawing."""
    panels = [it for each in DASHBOARDS.values() for it in each["panels"] if it["type"] != "row"]
    texts = {
        it["fieldConfig"]["defaults"]["unit"]: format_value(
            1, it["fieldConfig"]["defaults"]["unit"]
        )
        for it in panels
    }
    assert texts.keys() >= {"s", "short", "percentunit", "reqps", "ops", "bytes", "none"}
    assert texts["percentunit"] == "100%"


@pytest.mark.parametrize(
    ("low", "high", "unit", "labels"),
    [
        (0, 0.83, "s", ["0 s", "200 ms", "400 ms", "600 ms", "800 ms", "1 s"]),
        (
            0,
            12,
            "reqps",
            ["0 req/s", "2.5 req/s", "5 req/s", "7.5 req/s", "10 req/s", "12.5 req/s"],
        ),
        (-0.3, 1, "percentunit", ["-50%", "0%", "50%", "100%"]),
        (0, 86 * 1024**2, "bytes", ["0 B", "20 MiB", "40 MiB", "60 MiB", "80 MiB", "100 MiB"]),
        (0, 600, "s", ["0 s", "2 min", "4 min", "6 min", "8 min", "10 min"]),
        (0, 0, "short", ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_ticks_are_round_in_the_unit_that_is_shown(
    low: float, high: float, unit: str, labels: list[str]
) -> None:
    """A minute is divided as a minute, a MiB as a MiB."""
    ticks = choose_ticks(low, high, unit)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert [format_value(tick, unit, trims=True) for tick in ticks] == labels


def test_what_is_counted_has_whole_ticks() -> None:
    """There is no half a replica."""
    assert choose_ticks(0, 2, "short", whole=True) == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "colour"),
    [(-0.1, "red"), (0, "orange"), (0.2499, "orange"), (0.25, "green"), (1, "green")],
)
def test_a_threshold_colours_from_its_value_on(value: float, colour: str) -> None:
    """By the steps of the budget's tile."""
    steps = a_panel("Error budget left")["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert threshold_colour(steps, value) == COLOURS[colour]


def test_mapped_values_are_words() -> None:
    """A value that is not mapped stays a number."""
    mappings = a_panel("Alerts")["fieldConfig"]["defaults"]["mappings"]
    assert map_value(mappings, 2.0) == ("firing", COLOURS["red"])
    assert map_value(mappings, 3.0) is None


def test_variables_are_chosen_or_all() -> None:
    """And rates are over four scrapes, as Grafana has them."""
    assert fill_variables(DASHBOARDS["igw-gateway"], CHOSEN) == {
        **CHOSEN,
        "__rate_interval": "60s",
    }
    assert fill_variables(DASHBOARDS["igw-operator"], {})["pod"] == ".*"
    with pytest.raises(KeyError):
        fill_variables(DASHBOARDS["igw-gateway"], {"namespace": "demo"})


def test_every_target_is_asked_in_its_own_way() -> None:
    """Over the range or now; with exemplars where the panel has them; without any variable."""
    asked: list[tuple[str, dict[str, str]]] = []

    def ask(endpoint: str, **parameters: str) -> Any:
        asked.append((endpoint, parameters))
        dot = {"timestamp": 1.5, "value": "0.7"}
        return [{"exemplars": [dot]}] if "exemplars" in endpoint else {"result": [endpoint]}

    dashboard = DASHBOARDS["igw-gateway"]
    answers = ask_dashboard(ask, dashboard, CHOSEN, range(60, 121, 15))

    assert not any("$" in parameters["query"] for _, parameters in asked)
    for panel in dashboard["panels"]:
        ways = ["query" if it["instant"] else "query_range" for it in panel.get("targets", ())]
        assert answers["panels"][str(panel["id"])] == [[way] for way in ways]
        dots = [it for it in panel.get("targets", ()) if it["exemplar"]]
        assert len(answers["exemplars"][str(panel["id"])]) == len(dots)
    assert answers["annotations"] == ["query_range"]
    ranges = [parameters for endpoint, parameters in asked if endpoint == "query_range"]
    assert all((it["start"], it["end"], it["step"]) == ("60", "120", "15") for it in ranges)


def test_places_fill_the_page_without_overlapping() -> None:
    """Three thirds of a line end where a whole one ends."""
    thirds = [place({"x": x, "y": 1, "w": 8, "h": 8}, 1000) for x in (0, 8, 16)]
    assert [it.left + it.width + 8 for it in thirds[:2]] == pytest.approx(
        [it.left for it in thirds[1:]]
    )
    whole = place({"x": 0, "y": 0, "w": 24, "h": 1}, 1000)
    assert thirds[2].left + thirds[2].width == pytest.approx(whole.left + whole.width)
    assert whole.width == pytest.approx(1000)
    assert (whole.height, thirds[0].top, thirds[0].height) == (30, 38, 296)


def test_rows_are_chosen_by_title_and_begin_on_top() -> None:
    """With their panels, and nothing of the rows around them."""
    chosen = select_rows(DASHBOARDS["igw-gateway"], ("Burn rates",))
    assert [it["type"] for it in chosen] == ["row", *["timeseries"] * 4]
    assert [it["gridPos"]["y"] for it in chosen] == [0, 1, 1, 1, 1]


def test_every_panel_is_on_one_picture() -> None:
    """None is left out, none is shown twice."""
    for uid, dashboard in DASHBOARDS.items():
        shown = [
            panel["id"]
            for picture in PICTURES
            if picture.dashboard == uid
            for panel in select_rows(dashboard, picture.rows)
        ]
        assert sorted(shown) == sorted(panel["id"] for panel in dashboard["panels"])


def test_a_gap_stays_a_gap() -> None:
    """A series has a value for each moment; one that never had a number is left out."""
    panel = a_panel("Burn rate over 1h and 5m")
    answers = [
        [over_time(2, 3, at=15, slo="latency")],
        [over_time(NAN, math.inf, slo="x")],
        [over_time(14.4)],
    ]
    latency, factor = list_series(panel, answers, TIMES)
    assert (latency.name, factor.name) == ("latency 1h", "factor")
    assert math.isnan(latency.values[0])
    assert latency.measured == [2, 3]
    assert not latency.properties
    assert factor.properties["color"]["fixedColor"] == "red"


def test_a_tile_shows_each_series_that_is_a_number() -> None:
    """What is divided by nothing is none."""
    answers = [[now(0.5, slo="availability"), now(NAN, slo="latency"), now(math.inf)]]
    assert list_latest(a_panel("Error budget left"), answers) == [("availability", 0.5)]


def test_a_table_merges_its_queries_by_labels() -> None:
    """Columns are renamed; lines are sorted by budget; what has no number is empty."""
    panel = a_panel("All gateways", "igw-fleet")
    a, b = ({"namespace": "shop", "gateway": name} for name in ("a", "b"))
    answers = [
        [now(1, **a), now(0, **b)],
        [now(0.9, **a), now(-0.2, **b)],
        [],
        [],
        [now(2, **a)],
        [],
    ]
    header, lines = build_table(panel, answers)
    assert header[:4] == ["gateway", "namespace", "Ready", "Budget"]
    assert header[-2:] == ["Ready pods", "Desired pods"]
    assert lines == [
        ["b", "shop", 0, -0.2, None, None, None, None],
        ["a", "shop", 1, 0.9, None, None, 2, None],
    ]
    assert find_properties(panel, "Budget")["unit"] == "percentunit"
    assert "unit" not in find_properties(panel, "Ready pods")


def test_a_table_of_one_query_names_its_value() -> None:
    """As its transformation says."""
    header, lines = build_table(a_panel("Models served", "igw-fleet"), [[now(3, model="m")]])
    assert (header, lines) == (["model", "gateways"], [["m", 3]])


def test_buckets_are_what_is_between_two_bounds() -> None:
    """Prometheus counts from zero up to each bound, in any order."""
    answer = [
        over_time(9, 9, 9, le="+Inf"),
        over_time(4, 5, 6, le="0.1"),
        over_time(6, 5, 9, le="1"),
    ]
    bounds, counts = split_buckets(answer, TIMES)
    assert bounds == ["0.1", "1", "+Inf"]
    assert counts == [[4, 5, 6], [2, 0, 3], [3, 4, 0]]


def test_a_legend_is_filled_in() -> None:
    """Without one, a single value needs no name."""
    assert name_series("{{slo}} {{gone}}1h", {"slo": "latency"}) == "latency 1h"
    assert name_series("__auto", {"slo": "latency"}) == ""


def test_states_are_merged_into_stretches() -> None:
    """A gap is no state."""
    assert list(list_spans([1, 1, 2, NAN, NAN, 2])) == [(0, 2, 1), (2, 3, 2), (5, 6, 2)]
    assert list(list_spans([NAN])) == []


@pytest.mark.parametrize("file", [it.file for it in PICTURES])
def test_a_picture_is_there_and_small(file: str) -> None:
    """As wide as the others, and quickly loaded."""
    content = (IMAGES / file).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 250_000
    assert struct.unpack(">I", content[16:20]) == (1650,)


def test_no_picture_is_left_behind() -> None:
    """What is no longer drawn goes."""
    assert {it.name for it in IMAGES.iterdir()} == {MADE.name, *(it.file for it in PICTURES)}
