from __future__ import annotations

import re
from typing import Any

import pytest

from factories import a_gateway
from igw_operator import conventions
from igw_operator.api.fields import parse_duration
from igw_operator.api.windows import Window
from igw_operator.errors import SpecError
from igw_operator.plan.inputs import Defaults
from igw_operator.plan.slo.alerts import ALERT_DRILL, ALERT_NAMES
from igw_operator.plan.slo.objective import build_objectives
from igw_operator.plan.slo.rule import build_prometheus_rule
from plan_kit.children import an_input, build

PRICE = {"perReplicaHour": 0.38, "currency": "EUR"}
KEY = ("PrometheusRule", "photos-slo")


def groups(**arguments: Any) -> list[dict[str, Any]]:
    """The rule groups of a gateway; arguments as for `build`."""
    found = build(**arguments)[KEY]["spec"]["groups"]
    assert isinstance(found, list)
    return found


def rules(**arguments: Any) -> list[dict[str, Any]]:
    """All rules of all groups."""
    return [rule for group in groups(**arguments) for rule in group["rules"]]


def alerts(**arguments: Any) -> list[dict[str, Any]]:
    """All alerts of all groups."""
    return [rule for rule in rules(**arguments) if "alert" in rule]


@pytest.mark.parametrize("window", Window)
def test_stays_small(window: Window) -> None:
    """Five thousand gateways share one Prometheus."""
    assert len(rules(slo={"window": window.value}, cost=PRICE)) <= 40


def ranges(expression: str) -> list[tuple[str, int, int]]:
    """Each range of an expression: the metric that it is of, its seconds, its samples."""
    found = []
    for match in re.finditer(r"\[(\w+)(?::(\w+))?\]", expression):
        window, step = match.groups()
        seconds = int(parse_duration(window.replace("d", "h"))) * (24 if "d" in window else 1)
        every = int(parse_duration(step)) if step else conventions.RULE_INTERVAL_SECONDS
        named = re.search(r"[a-z_:0-9]+(?={)", find_operand(expression[: match.start()]))
        found.append((named.group() if named else "", seconds, seconds // every))
    return found


def find_operand(text: str) -> str:
    """What stands last in a text: a selector, or all that is in parentheses."""
    if not text.endswith(")"):
        return text[re.search(r"[a-z_:0-9]+{[^{}]*}$", text).start() :]  # type: ignore[union-attr]
    depth = 0
    for at in reversed(range(len(text))):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if depth == 0:
            return text[at:]
    raise AssertionError(text)


@pytest.mark.parametrize("window", Window)
def test_never_reads_a_month_of_raw_samples(window: Window) -> None:
    """Series of pods are read for minutes, events of every 30 s for hours, tiles for longer."""
    for rule in rules(slo={"window": window.value}, cost=PRICE):
        for metric, seconds, samples in ranges(rule["expr"]):
            assert seconds <= 3600 or metric.startswith("igw:")
            assert seconds <= 6 * 3600 or metric.endswith(":sum10m")
            assert samples <= 31 * 144


@pytest.mark.parametrize("window", Window)
def test_reads_few_samples(window: Window) -> None:
    """A gateway costs Prometheus some hundred samples a second, however long its window."""
    a_second = sum(
        samples / int(group["interval"].removesuffix("s"))
        for group in groups(slo={"window": window.value}, cost=PRICE)
        for rule in group["rules"]
        for _, _, samples in ranges(rule["expr"])
    )
    assert a_second < 600


def test_names_each_group_once() -> None:
    """Groups are merged by name: two of one name would be one."""
    names = [group["name"] for group in groups()]
    assert len(set(names)) == len(names)
    assert all(name.startswith("igw-demo-photos-") for name in names)


def test_has_every_alert_that_has_a_runbook() -> None:
    """The exported names are those of the rules, no more and no fewer."""
    always, drill = {alert["alert"] for alert in alerts()}, {ALERT_DRILL}
    assert always | drill == set(ALERT_NAMES)
    assert not always & drill


def test_tells_whoever_is_called_what_to_do() -> None:
    """Each alert says how bad, what, how much, and where to look."""
    defaults = Defaults(
        grafana_url="https://g.example", runbook_base_url="https://runbooks.example"
    )
    for alert in alerts(defaults=defaults):
        assert alert["labels"]["severity"] in {"critical", "warning"}
        told = alert["annotations"]
        assert "{{" not in told["summary"]
        assert (
            told["description"].startswith("{{ $labels.namespace }}/")
            or "{{ $labels" in told["description"]
        )
        assert told["runbook_url"] == f"https://runbooks.example/{alert['alert']}"
        assert told["dashboard_url"] == (
            "https://g.example/d/igw-gateway?var-namespace=demo&var-gateway=photos"
        )


def test_says_how_fast_the_budget_burns() -> None:
    """The burn alerts' description carries the measured value."""
    for alert in alerts():
        if alert["alert"].endswith(("Burn", "Exhausted")):
            assert "{{ $value |" in alert["annotations"]["description"]


def test_lets_users_add_labels_but_not_take_identity() -> None:
    """Routing labels are welcome; whose alert it is and how bad stays true."""
    labels = {"team": "vision", "gateway": "x", "namespace": "x", "slo": "x", "severity": "x"}
    annotations = {"chat": "#vision", "summary": "x"}
    alerting = {"labels": labels, "annotations": annotations}
    for alert in alerts(slo={"alerting": alerting}):
        assert alert["labels"]["team"] == "vision"
        assert alert["labels"]["gateway"] == "photos"
        assert alert["labels"]["namespace"] == "demo"
        assert alert["labels"]["severity"] != "x"
        assert alert["annotations"]["chat"] == "#vision"
        assert alert["annotations"]["summary"] != "x"


@pytest.mark.parametrize("name", ["app.kubernetes.io/team", "1st", "__name__", ""])
def test_refuses_a_label_that_prometheus_would_refuse(name: str) -> None:
    """One bad label name would silently cost the gateway all its rules."""
    with pytest.raises(SpecError, match=r"spec\.slo\.alerting\.labels"):
        build_prometheus_rule(an_input(slo={"alerting": {"labels": {name: "x"}}}))


def test_links_to_the_users_own_runbook() -> None:
    """A team's runbook is one page with a heading for each alert."""
    alerting = {"runbookURL": "https://wiki.example/p"}
    for alert in alerts(slo={"alerting": alerting}):
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example/p#{alert['alert']}"


def test_has_no_link_that_leads_nowhere() -> None:
    """Until somebody says where runbooks and dashboards are, alerts do not pretend to know."""
    for alert in alerts():
        assert set(alert["annotations"]) == {"summary", "description"}


def test_puts_the_alert_where_the_address_wants_it() -> None:
    """Runbooks in a repository are files, and their names end in .md."""
    base = "https://git.example/igw/blob/main/docs/runbooks/{alert}.md?plain=1"
    for alert in alerts(defaults=Defaults(runbook_base_url=base)):
        assert alert["annotations"]["runbook_url"] == (
            f"https://git.example/igw/blob/main/docs/runbooks/{alert['alert']}.md?plain=1"
        )


def test_records_without_alerts_when_alerting_is_off() -> None:
    """Who wants no alerts still wants to see the budget."""
    off = rules(slo={"alerting": {"enabled": False}})
    assert off == [rule for rule in rules() if "record" in rule]


def test_marks_latency_series_with_their_threshold() -> None:
    """Another threshold is another series: the budget starts anew with it."""
    found = {
        rule["labels"].get("threshold")
        for rule in rules(slo={"latency": {"threshold": "1500ms"}})
        if "record" in rule
    }
    assert found == {None, "1.5"}


def test_evaluates_long_windows_less_often_than_samples_go_stale() -> None:
    """Two minutes for days, well below the five that Prometheus looks back."""
    assert {group["name"].rsplit("-", 1)[1]: group["interval"] for group in groups()} == {
        "short": "30s",
        "long": "120s",
        "alerts": "30s",
    }


@pytest.mark.parametrize(
    ("window", "factors"),
    [
        ("30d", ["14.4", "6", "3", "1"]),
        ("28d", ["13.44", "5.6", "2.8", "0.9333333333333333"]),
        ("7d", ["13.44", "3.5", "1.4", "0.98"]),
    ],
)
def test_renders_factors_unrounded(window: str, factors: list[str]) -> None:
    """A factor is budget times window over hours, never an integer near it."""
    burns = [
        alert["expr"]
        for alert in alerts(slo={"window": window})
        if alert["alert"].endswith("AvailabilityBudgetBurn")
    ]
    for factor in factors:
        assert sum(expr.count(f"> {factor} and") for expr in burns) == 2


def test_records_a_cost_only_where_there_is_a_price() -> None:
    """The operator knows no prices; the currency is a word of the user's."""
    named = {"record": "igw:cost_per_1000_predictions:rate1h"}
    assert not [rule for rule in rules() if named.items() <= rule.items()]
    (rule,) = (rule for rule in rules(cost=PRICE) if named.items() <= rule.items())
    assert rule["labels"] == {"namespace": "demo", "gateway": "photos", "currency": "EUR"}
    (rule,) = (rule for rule in rules(cost={"perReplicaHour": 2}) if named.items() <= rule.items())
    assert rule["labels"] == {"namespace": "demo", "gateway": "photos"}
    assert rule["expr"].startswith("2 * ")


def test_reads_objectives_as_they_are_written() -> None:
    """99.95 leaves exactly 0.0005, not the double beside it."""
    slo = {"availability": {"objective": 99.95}, "latency": {"objective": 99.999}}
    availability, latency = build_objectives(a_gateway(slo=slo))
    assert (availability.budget, latency.budget) == ("0.0005", "0.00001")
