"""The dashboard of one gateway, to which its alerts link."""

from __future__ import annotations

from typing import Final

from harness.dashboards.grafana import Dashboard, Variable
from harness.dashboards.objectives import FIRING, build_burn_rates, build_objectives
from harness.dashboards.service import (
    build_model,
    build_requests,
    build_saturation,
    build_stages,
    build_telemetry,
)
from igw_operator.plan.slo.alerts import DASHBOARD_PATH
from igw_operator.plan.slo.names import OBJECTIVE
from igw_operator.plan.slo.promql import render_selector

UID: Final = DASHBOARD_PATH.removeprefix("/d/")


def build_gateway() -> Dashboard:
    """Objectives first, then what explains them."""
    return Dashboard(
        uid=UID,
        title="InferenceGateway",
        description="One gateway: its objectives and budgets, requests, stages, replicas, model.",
        variables=_build_variables(),
        annotations=(FIRING,),
        rows=(
            build_objectives(),
            build_burn_rates(),
            build_requests(),
            build_stages(),
            build_saturation(),
            build_model(),
            build_telemetry(),
        ),
    )


def _build_variables() -> tuple[Variable, ...]:
    # The objective is recorded also of a gateway that is down: it can still be chosen.
    in_namespace = render_selector(OBJECTIVE, {"namespace": "$namespace"})
    latency = render_selector(
        OBJECTIVE, {"namespace": "$namespace", "gateway": "$gateway", "slo": "latency"}
    )
    return (
        Variable(
            name="namespace", label="Namespace", query=f"label_values({OBJECTIVE}, namespace)"
        ),
        Variable(name="gateway", label="Gateway", query=f"label_values({in_namespace}, gateway)"),
        # In seconds. Asked for the end of the time range, as an edited threshold is another one.
        Variable(
            name="threshold",
            label="Latency threshold",
            query=f"query_result({latency})",
            pattern='/threshold="([^"]+)"/',
            is_hidden=True,
        ),
    )
