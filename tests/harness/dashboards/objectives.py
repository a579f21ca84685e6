"""Panels about a gateway's objectives: kept or not, what is left, how fast it goes."""

from __future__ import annotations

from typing import Final

from harness.dashboards.asking import burn_rate, of_gateway, whole_window
from harness.dashboards.grafana import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Annotation,
    Panel,
    Query,
    Row,
    Step,
    dashed,
)
from igw_operator.api.windows import BurnTier, Window
from igw_operator.plan.slo.names import BUDGET_REMAINING, COVERAGE, OBJECTIVE, ratio_name
from igw_operator.plan.slo.promql import render_number

# As long as the longest window; a shorter one shows its last few runs.
_BURN_DOWN_DAYS: Final = 30
_LITTLE: Final = 0.25
_FIRING, _PENDING = (of_gateway("ALERTS", f'alertstate="{it}"') for it in ("firing", "pending"))

FIRING: Final = Annotation(
    name="Alerts",
    expression=_FIRING,
    title="{{alertname}} {{slo}}",
    text="{{severity}}",
)


def build_objectives() -> Row:
    """What an SRE looks at first."""
    return Row(title="Objectives", panels=(*_now(), *_over_time()))


def build_burn_rates() -> Row:
    """One panel for each tier of the burn alerts, with the factor at which it fires."""
    tiers = range(len(Window.MONTH.tiers))
    return Row(title="Burn rates", panels=tuple(_burn_panel(tier) for tier in tiers))


def _now() -> tuple[Panel, ...]:
    budget = (Step(colour=RED), Step(value=0, colour=ORANGE), Step(value=_LITTLE, colour=GREEN))
    return (
        Panel(
            title="Error budget left",
            description="Of the SLO's whole window. Below 0 it is overspent.",
            kind="stat",
            unit="percentunit",
            queries=(_now_of(of_gateway(BUDGET_REMAINING)),),
            steps=budget,
            decimals=1,
            width=6,
            height=5,
        ),
        Panel(
            title="Good events over the window",
            description="Weighted by traffic. To be compared with the objective beside it.",
            kind="stat",
            unit="percentunit",
            queries=(_now_of(f"1 - ({whole_window()})"),),
            decimals=3,
            width=6,
            height=5,
        ),
        Panel(
            title="Objective",
            description="spec.slo, as Prometheus evaluates it.",
            kind="stat",
            unit="percentunit",
            queries=(_now_of(of_gateway(OBJECTIVE)),),
            decimals=3,
            width=5,
            height=5,
        ),
        Panel(
            title="Window covered",
            description="How much of the window Prometheus has data of. While it is little, a "
            "short bad time weighs much.",
            kind="stat",
            unit="percentunit",
            queries=(_now_of(of_gateway(COVERAGE)),),
            steps=(Step(colour=YELLOW), Step(value=0.1, colour=GREEN)),
            decimals=0,
            width=4,
            height=5,
        ),
        Panel(
            title="Alerts firing",
            description="Each has a runbook: docs/runbooks.",
            kind="stat",
            unit="short",
            queries=(Query(expression=f"count({_FIRING}) or vector(0)", shape="now"),),
            steps=(Step(colour=GREEN), Step(value=1, colour=RED)),
            width=3,
            height=5,
        ),
    )


def _over_time() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Budget burn-down",
            description="What was left of the error budget at each time, of the window that ended "
            "then. Steps down are incidents; an even slope is a service that misses its "
            "objective all the time.",
            kind="timeseries",
            unit="percentunit",
            queries=(Query(expression=of_gateway(BUDGET_REMAINING), legend="{{slo}}"),),
            maximum=1,
            steps=(Step(colour=GREEN), Step(value=0, colour=RED)),
            shows_steps=True,
            days=_BURN_DOWN_DAYS,
        ),
        Panel(
            title="Good events of the last hour, and the objective",
            description="Dashed: the objective. An hour below it spends budget faster than it "
            "comes back. No line: no requests.",
            kind="timeseries",
            unit="percentunit",
            queries=(
                Query(expression=f"1 - {of_gateway(ratio_name('1h'))}", legend="{{slo}}"),
                Query(expression=of_gateway(OBJECTIVE), legend="objective of {{slo}}"),
            ),
            maximum=1,
            decimals=2,
            overrides=(dashed("^objective", RED),),
        ),
        Panel(
            title="Alerts",
            description="Pending: the condition holds, not yet long enough to tell somebody.",
            kind="state-timeline",
            unit="short",
            queries=(
                Query(
                    expression=f"max by (alertname, slo, burn) ({_FIRING} * 2 or {_PENDING})",
                    legend="{{alertname}} {{slo}} {{burn}}",
                ),
            ),
            mappings=(
                {
                    "type": "value",
                    "options": {
                        "1": {"index": 0, "text": "pending", "color": ORANGE},
                        "2": {"index": 1, "text": "firing", "color": RED},
                    },
                },
            ),
        ),
    )


def _burn_panel(index: int) -> Panel:
    tier = Window.MONTH.tiers[index]
    does = "Wakes somebody" if tier.speed == "fast" else "Makes a ticket"
    windows = (tier.long_window, tier.short_window)
    return Panel(
        title=f"Burn rate over {tier.long_window} and {tier.short_window}",
        description=f"1 spends exactly the budget of the window. {does} while both are above the "
        "dashed line, which is the factor of the rules for the gateway's spec.slo.window.",
        kind="timeseries",
        unit="short",
        queries=(
            *(
                Query(
                    expression=burn_rate(window, of_gateway),
                    legend=f"{{{{slo}}}} {window}",
                )
                for window in windows
            ),
            Query(expression=_render_factor(index), legend="factor"),
        ),
        minimum=0,
        width=6,
        overrides=(dashed("^factor$", RED if tier.speed == "fast" else ORANGE),),
    )


def _render_factor(index: int) -> str:
    """The factor of the gateway's own window, told by which of the records there is."""

    def factor(window: Window) -> str:
        tier: BurnTier = window.tiers[index]
        seen = of_gateway(ratio_name(window))
        return f"0 * max({seen}) + {render_number(tier.factor(window.days))}"

    return " or ".join(factor(window) for window in Window)


def _now_of(expression: str) -> Query:
    return Query(expression=expression, legend="{{slo}}", shape="now")
