"""The dashboards: in step, whole, and asking only for what there is."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client.samples import Sample

from harness.dashboards.asked import Asked, list_asked
from harness.dashboards.every import FOLDER, dashboard_files, dashboards
from harness.dashboards.grafana import COLUMNS, Dashboard, render
from harness.dashboards.page import dashboards_page
from harness.shell import ROOT
from igw_operator.api.objects import Manifest
from igw_operator.api.windows import Window
from igw_operator.plan.inputs import Defaults
from igw_operator.plan.slo.names import ratio_name
from plan_kit.children import build as build_children
from plan_kit.exported import find, grow, list_recorded, scrape_operator, scrape_runtime
from plan_kit.prometheus import Check, RuleBench, Series, build_groups, desired, flat, near

EVERY: Final = {dashboard.uid: dashboard for dashboard in dashboards()}
ASKED: Final = [asked for dashboard in EVERY.values() for asked in list_asked(dashboard)]
VALUES: Final = {
    "namespace": "demo",
    "gateway": "photos",
    "threshold": "0.3",
    "pod": "igw-operator-0|another",
}
THRESHOLD: Final = "vector(0.3 + 0) > 0"
COST: Final = {"perReplicaHour": 0.5, "currency": "EUR"}
# https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/
OF_GRAFANA: Final = {"__rate_interval", "__data", "__url_time_range", "__all"}
# Ids of packages/grafana-data/src/valueFormats/categories.ts.
UNITS: Final = {"short", "none", "percentunit", "reqps", "ops", "s", "bytes"}
# What else is a word in PromQL, without a bracket behind it.
WORDS: Final = {"and", "or", "unless", "bool", "by", "on"}
# kubectl keeps what it applied, as JSON, in an annotation of at most so many bytes.
MOST_BYTES: Final = 262_144

every_dashboard = pytest.mark.parametrize("uid", EVERY)
every_question = pytest.mark.parametrize(
    "asked", ASKED, ids=[f"{number} {asked.place}" for number, asked in enumerate(ASKED)]
)

_GROUPING: Final = re.compile(r"\b(?:by|on|ignoring|without) \(([^)]*)\)")
_SELECTOR: Final = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?')
_LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")
_VARIABLE: Final = re.compile(r"\$\{?(\w+)")


@cache
def known() -> tuple[Sample, ...]:
    """All series there are, with a gateway of each window."""
    groups = [
        group
        for window in Window
        for group in build_groups(slo={"window": window.value}, cost=COST)
    ]
    return (*scrape_runtime(), *scrape_operator(), *list_recorded(groups))


def selectors(promql: str) -> Iterator[tuple[str, str]]:
    """Each selector of a query: its name and its matchers."""
    bare = _GROUPING.sub(" ", promql)
    bare = re.sub(r"\[[^]]*\]", " ", bare)
    for found in _SELECTOR.finditer(bare):
        if bare[found.end() :].lstrip().startswith("(") or found[1] in WORDS:
            continue
        yield found[1], found[2] or ""


@every_dashboard
def test_the_file_is_in_step(uid: str) -> None:
    """`make generate` was run after the last change."""
    assert (FOLDER / f"{uid}.json").read_text() == dashboard_files()[f"{uid}.json"]


def test_the_page_is_in_step() -> None:
    """Every panel is described in the docs, in the words that Grafana shows."""
    assert (ROOT / "docs" / "dashboards.md").read_text() == dashboards_page()


@pytest.mark.integration
def test_the_sidecar_finds_them(build: Callable[[str], Sequence[Manifest]]) -> None:
    """By the label that Grafana's charts look for, under names that stay."""
    maps = build("manifests/dashboards")
    assert {it["kind"] for it in maps} == {"ConfigMap"}
    assert all(it["metadata"]["labels"]["grafana_dashboard"] == "1" for it in maps)
    assert all(re.fullmatch(r"igw-dashboard-[a-z]+", it["metadata"]["name"]) for it in maps)
    texts = {name: text for it in maps for name, text in it["data"].items()}
    assert texts == dashboard_files()


@pytest.mark.integration
def test_plain_apply_can_hold_them(build: Callable[[str], Sequence[Manifest]]) -> None:
    """Without --server-side, as other objects are applied."""
    for each in build("manifests/dashboards"):
        assert len(json.dumps(each)) < MOST_BYTES * 0.9, each["metadata"]["name"]


@every_question
def test_each_series_is_recorded_or_exported(asked: Asked) -> None:
    """By name and by every label that it is selected by."""
    read = list(selectors(asked.fill(VALUES)))
    assert read or asked.fill(VALUES) == THRESHOLD
    dead = [selector for selector in read if not any(find(known(), *selector))]
    assert dead == []


def test_a_series_that_nobody_has_is_found_out() -> None:
    """The check above can fail: by the name, by a label, behind a function, without braces."""
    for promql in (
        "sum(http_request_total)",
        'http_requests_total{namespace="prod"}',
        'sum by (a) (rate(http_requests_total{status="200"}[5m])) / 2',
        "max(igw_operator_active or nowhere)",
    ):
        read = list(selectors(promql))
        assert [it for it in read if not any(find(known(), *it))], promql


@every_question
def test_a_legend_shows_labels_that_are_there(asked: Asked) -> None:
    """One that is not is an empty name."""
    if grouped := re.search(r"\bby \(([^)]*)\)", asked.expression):
        there = set(re.findall(r"\w+", grouped[1]))
    else:
        read = selectors(asked.fill(VALUES))
        there = {label for it in read for sample in find(known(), *it) for label in sample.labels}
    assert set(_LEGEND.findall(asked.legend)) <= there


@every_dashboard
def test_each_variable_that_is_used_is_defined(uid: str) -> None:
    """Also those in links; and each data source is the chosen one."""
    rendered = render(EVERY[uid])
    defined = [variable["name"] for variable in rendered["templating"]["list"]]
    assert len(defined) == len(set(defined))
    assert set(_VARIABLE.findall(json.dumps(rendered))) <= {*defined, *OF_GRAFANA}
    asking = [*rendered["panels"], *rendered["annotations"]["list"]]
    asking += [target for panel in rendered["panels"] for target in panel.get("targets", [])]
    sources = [it["datasource"] for it in asking if it.get("type") != "row"]
    assert all(it == {"type": "prometheus", "uid": "${datasource}"} for it in sources)
    # What a variable is made of has to be chosen before it.
    for number, variable in enumerate(EVERY[uid].variables):
        used = set(_VARIABLE.findall(variable.query))
        assert used <= {it.name for it in EVERY[uid].variables[:number]}


@every_dashboard
def test_panels_do_not_overlap_and_leave_no_step(uid: str) -> None:
    """Each cell of the grid is one panel's; the lines of a row are full."""
    cells: set[tuple[int, int]] = set()
    for panel in render(EVERY[uid])["panels"]:
        place = panel["gridPos"]
        assert place["w"] > 0 < place["h"]
        own = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < COLUMNS, panel["title"]
        cells |= own
    assert len(cells) == COLUMNS * (1 + max(y for _, y in cells))


@every_dashboard
def test_each_panel_has_a_unit_a_title_of_its_own_and_words(uid: str) -> None:
    """Somebody who was woken up needs no explanation elsewhere."""
    panels = list(EVERY[uid].panels())
    rendered = [it for it in render(EVERY[uid])["panels"] if it["type"] != "row"]
    titles = [f"{row.title}: {panel.title}" for row in EVERY[uid].rows for panel in row.panels]
    assert len(titles) == len(set(titles))
    assert [it["fieldConfig"]["defaults"]["unit"] for it in rendered] == [it.unit for it in panels]
    for panel in panels:
        assert panel.unit in UNITS, panel.title
        assert panel.description.endswith("."), panel.title
        assert panel.queries, panel.title
    numbers = [it["id"] for it in render(EVERY[uid])["panels"]]
    assert len(numbers) == len(set(numbers))


def test_exemplars_are_asked_of_raw_histograms() -> None:
    """Records have none; latency, by which one looks for a trace, has them."""
    queries = [
        query for each in EVERY.values() for panel in each.panels() for query in panel.queries
    ]
    asking = [query.expression for query in queries if query.exemplars]
    assert all("_bucket{" in it and "igw:" not in it for it in asking)
    assert sum("http_request_duration_seconds_bucket{" in it for it in asking) == 3


def test_the_link_of_an_alert_opens_the_dashboard_of_its_gateway() -> None:
    """Its path is the uid, its parameters are the variables, and so is the fleet's link."""
    children = build_children(defaults=Defaults(grafana_url="https://grafana.example"))
    groups = children["PrometheusRule", "photos-slo"]["spec"]["groups"]
    links = {
        rule["annotations"]["dashboard_url"]
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }
    (of_alerts,) = links
    gateway = EVERY["igw-gateway"]
    assert _opened(of_alerts, gateway) == {"namespace": ["demo"], "gateway": ["photos"]}
    (of_fleet,) = re.findall(r'"url": "(/d/[^"]+)"', json.dumps(render(EVERY["igw-fleet"])))
    assert _opened(of_fleet, gateway).keys() == {"namespace", "gateway"}


def _opened(link: str, dashboard: Dashboard) -> dict[str, list[str]]:
    address = urlsplit(link)
    assert address.path == f"/d/{dashboard.uid}"
    query = parse_qs(address.query)
    chosen = {name.removeprefix("var-"): it for name, it in query.items() if "var-" in name}
    assert chosen.keys() <= {variable.name for variable in dashboard.variables}
    return chosen


@pytest.mark.integration
def test_each_query_has_an_answer(promtool: str, tmp_path: Path) -> None:
    """Asked in Prometheus, of a gateway that is asked, and fails often enough to raise alerts."""
    series = [grow(sample) for sample in (*scrape_runtime(), *scrape_operator())]
    promql = {asked.fill(VALUES) for asked in ASKED}
    # Only what equals itself is a number: 0/0 would be no answer either.
    checks = [Check("30m", f"count(({it}) == ({it})) > bool 0", 1) for it in sorted(promql)]
    RuleBench(promtool, tmp_path).run(series, *checks, cost=COST)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("uid", "title", "number"), [("igw-gateway", "Replicas", 1), ("igw-fleet", "All gateways", 4)]
)
def test_a_gateway_without_a_pod_has_none_that_is_ready(
    uid: str, title: str, number: int, promtool: str, tmp_path: Path
) -> None:
    """It is the one to look at: 0, and not an empty place."""
    (panel,) = (it for it in EVERY[uid].panels() if it.title == title)
    promql = Asked(place=title, expression=panel.queries[number].expression).fill(VALUES)
    series = [desired(flat(10, 3))]
    RuleBench(promtool, tmp_path).run(series, near("5m", promql, 0), rules=())


@pytest.mark.integration
def test_without_a_threshold_there_is_no_line_and_no_error(promtool: str, tmp_path: Path) -> None:
    """While no rules are loaded, the latency panel shows what there is."""
    (asked,) = (it for it in ASKED if it.fill(VALUES) == THRESHOLD)
    empty = asked.fill({**VALUES, "threshold": ""})
    checks = (near("1m", THRESHOLD, 0.3), Check("1m", empty, None))
    RuleBench(promtool, tmp_path).run([], *checks, rules=())


@pytest.mark.integration
@pytest.mark.parametrize("window", Window)
def test_burn_rates_are_compared_with_the_factors_of_the_window(
    window: Window, promtool: str, tmp_path: Path
) -> None:
    """Those of the rules: 13.44 within an hour of 7 days, and 14.4 of 30."""
    record = f'{ratio_name(window)}{{namespace="demo",gateway="photos",slo="latency"}}'
    panels = [it for it in EVERY["igw-gateway"].panels() if it.title.startswith("Burn rate")]
    checks = []
    for tier, panel in zip(window.tiers, panels, strict=True):
        assert panel.title == f"Burn rate over {tier.long_window} and {tier.short_window}"
        (query,) = (it for it in panel.queries if it.legend == "factor")
        promql = Asked(place="", expression=query.expression).fill(VALUES)
        checks.append(near("10m", promql, float(tier.factor(window.days)), tolerance=1e-9))
    RuleBench(promtool, tmp_path).run([Series(record, flat(10, 0.02))], *checks, rules=())
