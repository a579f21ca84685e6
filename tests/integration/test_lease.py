"""Two operators: one is active, the other takes over when it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.cluster import LEASE, wait_for
from integration.conftest import Place
from integration.operator_process import OperatorProcess
from localnode.controlplane import ControlPlane


@pytest.mark.pain(7)
def test_the_second_operator_waits_and_takes_over(
    place: Place, plane: ControlPlane, operator: OperatorProcess, tmp_path: Path
) -> None:
    """It neither watches nor writes before, and no probe ends it; its turn comes in seconds."""
    place.make()
    first = holder(place)
    second = OperatorProcess(plane, tmp_path)
    second.start(wait=False)
    try:
        wait_for(lambda: "Waiting for the lease" in second.log.read_text(), "it to wait")
        assert holder(place) == first
        assert second.probe("healthz") == (200, "standby")
        assert second.probe("readyz") == (200, "standby")
        assert operator.probe("readyz") == (200, "active")
        operator.stop()
        wait_for(lambda: holder(place) not in {"", first}, "it to take over", timeout_seconds=10)
        wait_for(second.is_healthy, "it to be active")
        place.apply(observability={"logging": {"level": "debug"}})
        place.settle()
    finally:
        second.stop()
        operator.start()


def test_one_that_waits_ends_at_once(
    place: Place, plane: ControlPlane, operator: OperatorProcess, tmp_path: Path
) -> None:
    """As process 1 of a container it has to handle SIGTERM itself, before kopf does."""
    del operator  # it holds the lease
    first = holder(place)
    second = OperatorProcess(plane, tmp_path)
    second.start(wait=False)
    wait_for(lambda: "Waiting for the lease" in second.log.read_text(), "it to wait")
    assert second.stop() == 0
    assert "Stopped before it was at work" in second.log.read_text()
    assert second.errors() == []
    assert holder(place) == first


def holder(place: Place) -> str:
    """Who holds the lease."""
    lease = place.cluster.request("GET", LEASE.path("igw-system", "igw-operator"))
    return str(lease["spec"]["holderIdentity"])
