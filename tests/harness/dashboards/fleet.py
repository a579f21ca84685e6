"""The dashboard of all gateways: which of them needs somebody."""

from __future__ import annotations

from typing import Any, Final

from harness.dashboards.asking import burn_rate, rate
from harness.dashboards.gateway import UID as GATEWAY_UID
from harness.dashboards.grafana import (
    GREEN,
    ORANGE,
    RED,
    Dashboard,
    Json,
    Override,
    Panel,
    Query,
    Row,
    Step,
    Variable,
)
from harness.dashboards.service import READY, without
from igw_operator import conventions
from igw_operator.plan.slo.names import BUDGET_REMAINING, OBJECTIVE
from igw_operator.plan.slo.promql import render_selector

_CHOSEN: Final = 'namespace=~"$namespace"'
_PREDICTING: Final = f'endpoint=~"{conventions.ENDPOINT_PATTERN}"'
_EACH: Final = "by (namespace, gateway)"
_NAME: Final = "{{namespace}}/{{gateway}}"
_READY: Final = f"{conventions.METRIC_PREFIX}gateway_ready"
_BUDGET_STEPS: Final = (
    Step(colour=RED),
    Step(value=0, colour=ORANGE),
    Step(value=0.25, colour=GREEN),
)
_BAD: Final = (Step(colour=GREEN), Step(value=1, colour=RED))
_IS_READY: Final[Json] = {
    "type": "value",
    "options": {
        "0": {"index": 0, "text": "False", "color": RED},
        "1": {"index": 1, "text": "True", "color": GREEN},
    },
}


def _chosen(metric: str, *matchers: str) -> str:
    return render_selector(metric, {}, _CHOSEN, *matchers)


_LEAST_BUDGET: Final = f"min {_EACH} ({_chosen(BUDGET_REMAINING)})"
_WORST_BURN: Final = f"max {_EACH} ({burn_rate('1h', _chosen)})"
_LOAD: Final = f"sum {_EACH} ({rate(_chosen(conventions.METRIC_REQUESTS, _PREDICTING))})"
_IS_READY_EACH: Final = f"max {_EACH} ({_chosen(_READY)})"
_DESIRED: Final = f"max {_EACH} ({_chosen(conventions.METRIC_DESIRED_REPLICAS)})"
# None is 0: a gateway without a pod has no such series.
_READY_PODS: Final = f"sum {_EACH} ({_chosen('igw_runtime_state', READY)}) or 0 * {_DESIRED}"
_FIRING: Final = _chosen("ALERTS", 'alertstate="firing"', 'alertname=~"InferenceGateway.+"')


def build_fleet() -> Dashboard:
    """From how many to which, then how it came to be so."""
    return Dashboard(
        uid="igw-fleet",
        title="InferenceGateway fleet",
        description="All gateways by READY and by error budget, and rollouts of their runtimes.",
        variables=(
            Variable(
                name="namespace",
                label="Namespace",
                query=f"label_values({OBJECTIVE}, namespace)",
                has_all=True,
            ),
        ),
        rows=(_build_counts(), _build_history(), _build_rollouts()),
        hours=24,
    )


def _build_counts() -> Row:
    return Row(
        title="Gateways",
        panels=(
            _count("Gateways", f"count({_IS_READY_EACH})", (Step(colour=GREEN),)),
            _count("Not Ready", f"count({_IS_READY_EACH} == 0) or vector(0)", _BAD),
            _count("Budget overspent", f"count({_LEAST_BUDGET} < 0) or vector(0)", _BAD),
            _count("Alerts firing", f"count({_FIRING}) or vector(0)", _BAD),
            _build_list(),
        ),
    )


def _count(title: str, expression: str, steps: tuple[Step, ...]) -> Panel:
    return Panel(
        title=title,
        description="In the chosen namespaces, now.",
        kind="stat",
        unit="short",
        queries=(Query(expression=expression, shape="now"),),
        steps=steps,
        width=6,
        height=4,
    )


def _build_list() -> Panel:
    columns = {
        "Ready": _IS_READY_EACH,
        "Budget": _LEAST_BUDGET,
        "Burn rate, 1h": _WORST_BURN,
        "Requests": _LOAD,
        "Ready pods": _READY_PODS,
        "Desired pods": _DESIRED,
    }
    names = {f"Value #{chr(ord('A') + number)}": name for number, name in enumerate(columns)}
    return Panel(
        title="All gateways",
        description="Budget and burn rate are the worse ones of the two objectives. A gateway's "
        "name leads to its dashboard.",
        kind="table",
        unit="short",
        queries=tuple(Query(expression=each, shape="table") for each in columns.values()),
        width=24,
        height=12,
        decimals=2,
        transformations=(
            {"id": "merge", "options": {}},
            without("Time", **names),
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "Budget"}]}},
        ),
        overrides=(
            _column("^Ready$", mappings=[_IS_READY]),
            _column("^Budget$", unit="percentunit", thresholds=_as_thresholds(_BUDGET_STEPS)),
            _column("^Requests$", unit="reqps"),
            _column(" pods$", decimals=0),
            Override(pattern="^gateway$", properties={"links": [_LINK]}),
        ),
    )


def _build_history() -> Row:
    return Row(
        title="Over time",
        panels=(
            Panel(
                title="Least error budget",
                description="The ten gateways that have the least left at each time.",
                kind="timeseries",
                unit="percentunit",
                queries=(Query(expression=f"bottomk(10, {_LEAST_BUDGET})", legend=_NAME),),
                maximum=1,
                steps=(Step(colour=GREEN), Step(value=0, colour=RED)),
                shows_steps=True,
                width=12,
            ),
            Panel(
                title="Highest burn rate, 1h",
                description="The ten that spend fastest. 1 spends exactly the budget of a window.",
                kind="timeseries",
                unit="short",
                queries=(Query(expression=f"topk(10, {_WORST_BURN})", legend=_NAME),),
                minimum=0,
                width=12,
            ),
            Panel(
                title="Requests",
                description="The ten that are asked most.",
                kind="timeseries",
                unit="reqps",
                queries=(Query(expression=f"topk(10, {_LOAD})", legend=_NAME),),
                minimum=0,
            ),
            Panel(
                title="Not Ready",
                description="Gateways that are not, by namespace.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression=f"sum by (namespace) (1 - {_IS_READY_EACH})",
                        legend="{{namespace}}",
                    ),
                ),
                minimum=0,
                decimals=0,
                is_stacked=True,
            ),
            Panel(
                title="Alerts firing",
                description="By name. Each has a runbook: docs/runbooks.",
                kind="timeseries",
                unit="short",
                queries=(
                    Query(
                        expression=f"count by (alertname, severity) ({_FIRING})",
                        legend="{{alertname}} {{severity}}",
                    ),
                ),
                minimum=0,
                decimals=0,
                is_stacked=True,
            ),
        ),
    )


def _build_rollouts() -> Row:
    held, waiting = (
        f"max by (runtime) ({conventions.METRIC_PREFIX}{name})"
        for name in ("rollout_held", "rollout_waiting_gateways")
    )
    labels = "model, version, engine, precision"
    models = _chosen("igw_runtime_model_info")
    return Row(
        title="Rollouts",
        panels=(
            Panel(
                title="Rollouts held",
                description="Of each InferenceRuntime. Held: a gateway fails with the new "
                "revision, it is paused, or only a new operator asks for it. The reason is in "
                "`kubectl get igwr`.",
                kind="state-timeline",
                unit="short",
                queries=(Query(expression=held, legend="{{runtime}}"),),
                mappings=(
                    {
                        "type": "value",
                        "options": {
                            "0": {"index": 0, "text": "free", "color": GREEN},
                            "1": {"index": 1, "text": "held", "color": ORANGE},
                        },
                    },
                ),
            ),
            Panel(
                title="Gateways that wait for the latest revision",
                description="By InferenceRuntime. A line that stays level is a rollout that does "
                "not go on.",
                kind="timeseries",
                unit="short",
                queries=(Query(expression=waiting, legend="{{runtime}}"),),
                minimum=0,
                decimals=0,
            ),
            Panel(
                title="Models served",
                description="By how many gateways, and how they are truly run.",
                kind="table",
                unit="short",
                queries=(
                    Query(
                        expression=f"count by ({labels}) "
                        f"(count by (namespace, gateway, {labels}) ({models}))",
                        shape="table",
                    ),
                ),
                transformations=(without("Time", Value="gateways"),),
            ),
        ),
    )


_LINK: Final[Json] = {
    "title": "Its dashboard",
    "url": f"/d/{GATEWAY_UID}?var-namespace=${{__data.fields.namespace}}"
    "&var-gateway=${__data.fields.gateway}&${__url_time_range}",
}


def _column(pattern: str, **properties: Any) -> Override:
    return Override(
        pattern=pattern,
        properties={**properties, "custom.cellOptions": {"type": "color-text"}},
    )


def _as_thresholds(steps: tuple[Step, ...]) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"value": step.value, "color": step.colour} for step in steps],
    }
