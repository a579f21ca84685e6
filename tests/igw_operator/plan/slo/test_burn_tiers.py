"""Each tier of each window fires when the table says so: not before, and not much later."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pytest

from factories import a_gateway
from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.api.windows import BurnTier, Window
from igw_operator.plan.slo.names import EVENTS_BAD, EVENTS_TOTAL
from igw_operator.plan.slo.objective import build_objectives
from plan_kit.prometheus import (
    SAMPLES_A_MINUTE,
    RuleBench,
    Series,
    build_groups,
    firing,
    latencies,
    requests,
    steps,
)

pytestmark = pytest.mark.integration

A_MINUTE = 6000  # requests
FOR_MINUTES = {"fast": 2, "slow": 15}
# Evaluations until it fires: of the records, of the alert, and the one that ends its `for`.
SLACK_MINUTES = {
    "fast": Fraction(3 * conventions.RULE_INTERVAL_SECONDS, 60),
    "slow": Fraction(3 * conventions.RULE_INTERVAL_LONG_SECONDS, 60),
}
ALERTS = {
    "availability": "InferenceGatewayAvailabilityBudgetBurn",
    "latency": "InferenceGatewayLatencyBudgetBurn",
}
BUDGETS = {"availability": Fraction(5, 1000), "latency": Fraction(1, 100)}


@dataclass(frozen=True)
class Burn:
    """A burn that one tier notices, after a time in which nothing was bad."""

    speed: str
    history: int
    """Healthy minutes before: as long as any tier of the speed looks back."""
    bad: Fraction
    """Share of bad events from then on."""
    delay: Fraction
    """Minutes until the long window has seen enough: factor x budget x long / bad."""

    @property
    def soonest(self) -> Fraction:
        """When the alert may fire at the earliest, in minutes."""
        return self.history + self.delay + FOR_MINUTES[self.speed]

    @property
    def latest(self) -> Fraction:
        """When it has to fire."""
        return self.soonest + SLACK_MINUTES[self.speed]

    @property
    def minutes(self) -> int:
        """How long it has to go on."""
        return int(self.latest - self.history) + 10


def plan_burn(window: Window, tier: BurnTier, objective: str) -> Burn:
    """Midway between the tier's factor and the next faster one's; the fastest sees an outage."""
    budget = BUDGETS[objective]
    factors = [Fraction(each.factor(window.days)) for each in window.tiers]
    at = window.tiers.index(tier)
    bad = (factors[at] + factors[at - 1]) / 2 * budget if at else Fraction(1)
    delays = {
        each: factor * budget * each.long_hours * 60 / bad
        for each, factor in zip(window.tiers, factors, strict=True)
        if each.speed == tier.speed and factor * budget < bad
    }
    # Some are equal but for the last of the factor's digits.
    assert round(delays[tier] - min(delays.values()), 9) == 0, "another tier would fire first"
    return Burn(
        speed=tier.speed,
        history=max(each.long_hours for each in window.tiers if each.speed == tier.speed) * 60,
        bad=bad,
        delay=delays[tier],
    )


def render_time(minutes: Fraction) -> str:
    """To the evaluation before."""
    return f"{int(minutes * 2) * 30}s"


def pick(objective: str, window: Window, *names: str) -> list[Manifest]:
    """The groups of one objective of a name, such as short."""
    groups = build_groups(slo={"window": str(window)})
    found = [it for it in groups if it["name"].endswith(tuple(f"{objective}-{n}" for n in names))]
    assert len(found) == len(names)
    return found


def params(speed: str) -> pytest.MarkDecorator:
    """Every tier of that speed of every window; of latency, whose rules are alike, one window."""
    rolling = [window for window in Window if not window.is_calendar]
    rows = [*(("availability", window) for window in rolling), ("latency", Window("30d"))]
    cases = [
        (objective, window, tier)
        for objective, window in rows
        for tier in window.tiers
        if tier.speed == speed
    ]
    return pytest.mark.parametrize(
        ("objective", "window", "tier"),
        cases,
        ids=[f"{objective} {window} {tier.long_window}" for objective, window, tier in cases],
    )


@params("fast")
def test_a_page_keeps_its_delay(
    bench: RuleBench, objective: str, window: Window, tier: BurnTier
) -> None:
    """From requests to the page: after the long window has seen enough, and its ``for``."""
    burn = plan_burn(window, tier, objective)
    good, bad = float(A_MINUTE * (1 - burn.bad)), float(A_MINUTE * burn.bad)
    series = {
        "availability": [
            requests("2xx", steps((burn.history, A_MINUTE), (burn.minutes, good))),
            requests("5xx", steps((burn.history, 0), (burn.minutes, bad))),
        ],
        "latency": latencies(
            steps((burn.history + burn.minutes, A_MINUTE)),
            steps((burn.history, A_MINUTE), (burn.minutes, good)),
        ),
    }[objective]
    bench.run(
        series,
        firing(render_time(burn.soonest), ALERTS[objective], expected=False),
        firing(
            render_time(burn.latest),
            ALERTS[objective],
            expected=True,
            severity="critical",
        ),
        rules=pick(objective, window, "short"),
    )


@params("slow")
def test_a_ticket_keeps_its_delay(
    bench: RuleBench, objective: str, window: Window, tier: BurnTier
) -> None:
    """Days of recorded events, evaluated as often as the server does: every two minutes."""
    burn = plan_burn(window, tier, objective)
    (defined,) = (it for it in build_objectives(a_gateway()) if it.name == objective)
    before, after = burn.history * SAMPLES_A_MINUTE, burn.minutes * SAMPLES_A_MINUTE
    a_second = A_MINUTE / 60
    series = [
        Series(defined.record(EVENTS_TOTAL), f"{a_second}+0x{before + after}"),
        Series(
            defined.record(EVENTS_BAD),
            f"0+0x{before - 1} {a_second * float(burn.bad)}+0x{after}",
        ),
    ]
    short, long = pick(objective, window, "short", "long")
    read = ("rate2h", "rate6h", ":sum10m")
    read_rules = [it for it in short["rules"] if it.get("record", "").endswith(read)]
    assert len(read_rules) == 4
    bench.run(
        series,
        firing(render_time(burn.soonest), ALERTS[objective], expected=False),
        firing(render_time(burn.latest), ALERTS[objective], expected=True, severity="warning"),
        rules=[short | {"rules": read_rules}, long],
        evaluation=long["interval"],
    )


@pytest.mark.parametrize("window", Window)
def test_a_faster_tier_has_a_greater_factor(window: Window) -> None:
    """Otherwise a tier of the table would never be the first to notice anything."""
    factors = [tier.factor(window.days) for tier in window.tiers]
    assert all(faster > slower for faster, slower in pairwise(factors))


def test_a_calendar_month_alerts_like_thirty_days() -> None:
    """How fast a budget burns does not depend on the date, nor on the length of the month."""

    def alerts(window: str) -> list[str]:
        groups = build_groups(slo={"window": window})
        rules = [rule for group in groups for rule in group["rules"]]
        return [it["expr"] for it in rules if it.get("alert") in ALERTS.values()]

    assert alerts("month") == alerts("30d")
