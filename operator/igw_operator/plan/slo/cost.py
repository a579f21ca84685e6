"""What 1,000 predictions of a gateway cost, over the last hour."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from igw_operator import conventions
from igw_operator.api.gateway import Cost
from igw_operator.api.objects import Gateway
from igw_operator.plan.slo.names import COST
from igw_operator.plan.slo.objective import build_identity
from igw_operator.plan.slo.promql import render_number, render_selector
from igw_operator.plan.slo.records import Rule

_PREDICTIONS: Final = 1000
_MINUTES_AN_HOUR: Final = 60


def build_cost_record(gateway: Gateway, cost: Cost) -> Rule:
    """Paid replica-hours over predictions.

    Replicas are those that should run: they hold their resources also while they start. Asked
    minute by minute, as one series: a restarted operator, or a second one, counts once.
    Without predictions there is no such cost.
    """
    identity = build_identity(gateway)
    desired = render_selector(conventions.METRIC_DESIRED_REPLICAS, identity)
    predictions = render_selector(conventions.METRIC_PREDICTIONS, identity)
    hours = f"sum(sum_over_time(max({desired})[1h:1m])) / {_MINUTES_AN_HOUR}"
    made = f"sum(increase({predictions}[1h])) / {_PREDICTIONS}"
    price = render_number(Decimal(str(cost.per_replica_hour)))
    labels = identity | ({"currency": cost.currency} if cost.currency else {})
    return {"record": COST, "expr": f"{price} * {hours} / ({made} > 0)", "labels": labels}
