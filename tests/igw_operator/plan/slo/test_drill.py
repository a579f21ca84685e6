"""The alert drill as a rule: when it fires, by whom it is heard, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from factories import a_gateway, with_drill
from igw_operator.api.windows import Window
from igw_operator.plan.inputs import Defaults
from igw_operator.plan.slo.drill import check_drill, find_drill
from igw_operator.plan.slo.rule import build_prometheus_rule
from plan_kit.children import an_input
from plan_kit.prometheus import IDENTITY, Check, RuleBench, firing, near

AT = "2026-03-04T12:00:00Z"
DRILL = "InferenceGatewayAlertDrill"
OFF: dict[str, dict[str, Any]] = {
    "spec.slo.alerting.enabled": {"slo": {"alerting": {"enabled": False}}},
    "spec.observability.metrics.enabled": {"observability": {"metrics": {"enabled": False}}},
}


def groups(at: str | None, defaults: Defaults | None = None, **spec: Any) -> list[dict[str, Any]]:
    """The rule groups of a gateway with a drill at a time; keyword arguments are of its spec."""
    inputs = an_input(defaults=defaults, **spec)
    if at is not None:
        inputs = replace(inputs, gateway=with_drill(inputs.gateway, at))
    rule = build_prometheus_rule(inputs)
    assert rule is not None
    found: list[dict[str, Any]] = rule["spec"]["groups"]
    return found


def drill_rule(at: str = AT, **arguments: Any) -> dict[str, Any]:
    """The only rule of the drill's group."""
    (rule,) = groups(at, **arguments)[-1]["rules"]
    assert isinstance(rule, dict)
    return rule


def test_stands_beside_the_other_rules() -> None:
    """They are what they are without it, so that their groups go on as they were."""
    *others, own = groups(AT)

    assert others == groups(None)
    assert (own["name"], own["interval"]) == ("igw-demo-photos-drill", "30s")


def test_goes_where_pages_go_and_says_that_it_is_none() -> None:
    """The severity and the owner's labels route it; its own label tells one drill from another."""
    alerting = {"labels": {"team": "vision"}, "annotations": {"channel": "#vision"}}
    defaults = Defaults(runbook_base_url="https://runbooks.example")
    rule = drill_rule(slo={"alerting": alerting}, defaults=defaults)

    assert rule["alert"] == DRILL
    assert rule["labels"] == {
        "team": "vision",
        "namespace": "demo",
        "gateway": "photos",
        "severity": "critical",
        "drill": AT,
    }
    told = rule["annotations"]
    assert told["channel"] == "#vision"
    assert told["runbook_url"] == f"https://runbooks.example/{DRILL}"
    assert "Nothing is wrong" in told["summary"]
    assert told["description"].startswith(f"demo/photos has a drill, asked for at {AT}.")


@pytest.mark.parametrize("window", Window)
def test_is_one_rule_more(window: Window) -> None:
    """Forty at most, but with a price: while there is a drill, it is one more than the forty."""
    price: dict[str, Any] = {"cost": {"perReplicaHour": 1}}
    for spec, most in (({}, 40), (price, 41)):
        found = groups(AT, None, slo={"window": window.value}, **spec)

        assert sum(len(group["rules"]) for group in found) <= most


@pytest.mark.parametrize(
    ("written", "begins"),
    [
        (AT, datetime(2026, 3, 4, 12, tzinfo=UTC)),
        ("2026-03-04T13:00:00+01:00", datetime(2026, 3, 4, 12, tzinfo=UTC)),
        ("2026-03-04T12:00:00.9Z", datetime(2026, 3, 4, 12, tzinfo=UTC)),
        ("2026-03-04 12:00Z", datetime(2026, 3, 4, 12, tzinfo=UTC)),
    ],
)
def test_takes_a_time_with_a_zone(written: str, begins: datetime) -> None:
    """However it is written, it is one drill."""
    gateway = with_drill(a_gateway(), written)
    drill = find_drill(gateway)

    assert drill is not None
    assert (drill.begins_at, drill.name) == (begins, AT)
    assert drill_rule(written) == drill_rule()
    assert check_drill(gateway) == ""


@pytest.mark.parametrize(
    "written",
    [
        "",
        "now",
        "true",
        "2026-03-04",
        "2026-03-04T12:00:00",
        "1772625600",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        '"}) or vector(1)',
        "2026-03-04T12:00:00Z" * 1000,
    ],
)
def test_refuses_what_is_no_such_time(written: str) -> None:
    """The words are repeated, as far as they are short; the rules are as without it."""
    gateway = with_drill(a_gateway(), written)

    assert find_drill(gateway) is None
    assert check_drill(gateway).endswith("is no time with a zone, such as 2026-03-04T12:00:00Z")
    assert len(check_drill(gateway)) < 150
    assert groups(written) == groups(None)


@pytest.mark.parametrize(("field", "spec"), OFF.items(), ids=OFF)
def test_is_refused_where_nothing_could_fire(field: str, spec: dict[str, Any]) -> None:
    """And the field that is in its way is named."""
    gateway = with_drill(a_gateway(**spec), AT)

    assert find_drill(gateway) is None
    assert field in check_drill(gateway)


def test_nobody_who_asks_for_none_hears_of_it() -> None:
    """Not even where alerts are off."""
    assert find_drill(a_gateway()) is None
    assert [check_drill(it) for it in (a_gateway(), a_gateway(**OFF[next(iter(OFF))]))] == ["", ""]


@pytest.mark.integration
def test_fires_for_its_quarter_of_an_hour_and_ends_by_itself(bench: RuleBench) -> None:
    """Not before, not after, and not again, though the annotation stays."""
    rules = groups("1970-01-01T00:10:00Z")[-1:]
    labels = {"severity": "critical", "gateway": "photos", "drill": "1970-01-01T00:10:00Z"}
    since = f'ALERTS_FOR_STATE{{alertname="{DRILL}",{IDENTITY}}}'
    bench.run(
        [],
        firing("9m30s", DRILL, False),
        firing("10m", DRILL, True, **labels),
        near("12m", since, 600),
        firing("24m30s", DRILL, True, **labels),
        firing("25m", DRILL, False),
        firing("10h", DRILL, False),
        Check("25m", since, None),
        rules=rules,
    )
