"""The dashboards, asked: every query of every panel, in the cluster's own Prometheus."""

from __future__ import annotations

from typing import Final

import pytest

from harness.client import Client
from harness.dashboards.asked import Asked, list_asked
from harness.dashboards.every import dashboards
from harness.gateway import Gateway
from harness.kubectl import Kubectl
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(700)]

COFFEE: Final = ROOT / "tests" / "pictures" / "coffee.jpg"
# Two evaluations of the slow rules, of two minutes each, and the scrapes before them.
PATIENCE_SECONDS: Final = 360
# What a fleet without trouble need not have, and why.
MAY_BE_EMPTY: Final = {
    "igw-gateway: Objectives: Alerts": "no alert is pending or firing",
    "igw-gateway: annotation Alerts": "no alert is firing",
    "igw-gateway: Requests: Time to fail": "nothing failed",
    "igw-fleet: Over time: Alerts firing": "no alert is firing",
    "igw-operator: API server: Requests that failed": "the API server refused nothing",
    "igw-operator: API server: Fields that others set, by manager": "nobody set any",
    "igw-operator: What it sees: Resync discrepancies": "no watch missed anything",
}


def test_every_query_of_every_panel_has_an_answer(
    gateway: Gateway, client: Client, kubectl: Kubectl
) -> None:
    """Of a healthy gateway with a price, that is asked twice a second."""
    gateway.apply(cost={"perReplicaHour": 0.38, "currency": "EUR"})
    gateway.wait_ready()
    left = [asked for dashboard in dashboards() for asked in list_asked(dashboard)]
    assert {asked.place for asked in left} >= MAY_BE_EMPTY.keys()
    # As the variable `threshold` finds it among the labels of the objective.
    values = {
        "namespace": gateway.namespace,
        "gateway": gateway.name,
        "threshold": "0.3",
        "pod": ".*",
    }

    def all_answered() -> bool:
        left[:] = [asked for asked in left if not has_answer(kubectl, asked.fill(values))]
        return not list_unexpected(left)

    with client.load(
        f"{gateway.url}/predict", COFFEE, per_second=2, most_seconds=PATIENCE_SECONDS + 60
    ):
        try:
            wait_for(
                "an answer to every query",
                all_answered,
                timeout_seconds=PATIENCE_SECONDS,
                every_seconds=10,
            )
        except TimeoutError:
            assert list_unexpected(left) == []
        objectives = kubectl.prometheus(
            f'igw:slo_objective:ratio{{namespace="{gateway.namespace}",slo="latency"}}'
        )

    assert [sample["metric"]["threshold"] for sample in objectives] == ["0.3"]


def has_answer(kubectl: Kubectl, promql: str) -> bool:
    """Whether any series of the answer is a number."""
    return any(sample["value"][1] != "NaN" for sample in kubectl.prometheus(promql))


def list_unexpected(asked: list[Asked]) -> list[str]:
    """The places that are empty without a reason, each with its query."""
    return [f"{it.place}: {it.expression}" for it in asked if it.place not in MAY_BE_EMPTY]
