from __future__ import annotations

from typing import Any

import pytest

from plan_kit.children import build

KEY = ("PodDisruptionBudget", "photos")


@pytest.mark.parametrize(
    "spec",
    [{}, {"replicas": 2}, {"scaling": {"minReplicas": 1, "maxReplicas": 2}}],
    ids=["default", "two replicas", "scaling from one"],
)
@pytest.mark.pain(15)
def test_lets_one_replica_go_at_a_time(spec: dict[str, Any]) -> None:
    """A drain goes on, one replica after the other, even where one never gets ready."""
    budget = build(**spec)[KEY]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert "minAvailable" not in budget


@pytest.mark.parametrize(
    "spec",
    [{"replicas": 0}, {"replicas": 1}, {"scaling": {"minReplicas": 1, "maxReplicas": 1}}],
    ids=["none", "one", "scaling up to one"],
)
def test_is_absent_where_there_is_nothing_to_protect(spec: dict[str, Any]) -> None:
    """A single replica has to go when its node goes."""
    assert KEY not in build(**spec)
