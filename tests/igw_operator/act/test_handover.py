from typing import Any

import pytest

from factories import a_gateway, a_runtime
from igw_operator import conventions
from igw_operator.act.handover import (
    first_replicas,
    is_left_to_autoscaler,
    kept_replicas,
    with_replicas,
)
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.inputs import Capabilities, PlanInput


def deployment_of(
    capabilities: Capabilities | None = None, **spec: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The stamped Deployment that serves, and its siblings."""
    gateway = a_gateway(**spec)
    inputs = PlanInput(
        gateway=gateway, runtime=a_runtime(), capabilities=capabilities or Capabilities()
    )
    children = build_children(inputs)
    (deployment,) = (
        it for it in children if (it["kind"], it["metadata"]["name"]) == ("Deployment", "photos")
    )
    return stamp(deployment, gateway), children


def live_with(replicas: int, *owners: str) -> dict[str, Any]:
    """A live Deployment whose replicas have these owners."""
    entries = [
        {"manager": owner, "fieldsV1": {"f:spec": {"f:replicas": {}, "f:x": {}}}}
        for owner in owners
    ]
    return {"metadata": {"managedFields": entries}, "spec": {"replicas": replicas}}


def test_scaling_leaves_the_replicas_out() -> None:
    """And starts with the autoscaler's minimum."""
    desired, siblings = deployment_of(scaling={"minReplicas": 4})
    assert is_left_to_autoscaler(desired)
    assert first_replicas(desired, siblings) == 4


def test_keda_starts_at_its_minimum_too() -> None:
    """KEDA's field has another name."""
    desired, siblings = deployment_of(
        Capabilities(scaled_objects=True), scaling={"minReplicas": 4, "engine": "KEDA"}
    )
    assert is_left_to_autoscaler(desired)
    assert first_replicas(desired, siblings) == 4


def test_a_fixed_number_is_ours() -> None:
    """It is in the manifest; nothing is added."""
    desired, siblings = deployment_of(replicas=2)
    assert not is_left_to_autoscaler(desired)
    assert first_replicas(desired, siblings) is None


@pytest.mark.parametrize(
    ("live", "kept"),
    [
        pytest.param(live_with(7, conventions.FIELD_MANAGER), 7, id="ours alone: go on"),
        pytest.param(
            live_with(7, conventions.FIELD_MANAGER, "kube-controller-manager"),
            None,
            id="shared: let go",
        ),
        pytest.param(live_with(9, "kube-controller-manager"), None, id="theirs: let go"),
        pytest.param(live_with(1), None, id="nobody's: let go"),
        pytest.param(live_with(0, conventions.FIELD_MANAGER), 3, id="our zero: lift"),
    ],
)
def test_who_sets_replicas(live: dict[str, Any], kept: int | None) -> None:
    """We go on only where letting go would reset the number."""
    assert kept_replicas(live, least=3) == kept


def test_the_manifest_itself_is_not_changed() -> None:
    """A copy carries the number."""
    desired, _ = deployment_of()
    assert with_replicas(desired, 5)["spec"]["replicas"] == 5
    assert "replicas" not in desired["spec"]
    assert with_replicas(desired, None) is desired
