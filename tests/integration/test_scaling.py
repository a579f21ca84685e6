"""Replicas between us and an autoscaler: never fewer than somebody chose."""

from __future__ import annotations

import time

import pytest

from igw_operator import conventions, kinds
from integration.cluster import wait_for
from integration.conftest import Place
from integration.operator_process import OperatorProcess
from integration.replicas import scale, watching_replicas


def test_scaling_starts_at_its_minimum(place: Place) -> None:
    """The Deployment is made with the autoscaler's minimum, not with one replica."""
    place.apply()
    wait_for(lambda: place.get("Deployment"), "the Deployment")
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.settle()
    assert seen == [3]


@pytest.mark.pain(3)
def test_replicas_that_an_autoscaler_chose_survive_edits(place: Place) -> None:
    """Seven replicas stay seven while the pod template changes; the operator never owns them."""
    place.make()
    scale(place, 7)
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.apply(serving={"maxBatch": 4})
        place.settle()
        place.apply(serving={"maxBatch": 8}, resources={"requests": {"cpu": "1"}})
        place.settle()
    assert seen == [7]
    assert not owns_replicas(place)


@pytest.mark.pain(3)
def test_switching_scaling_on_and_off_never_drops_replicas(place: Place) -> None:
    """Seven fixed, then scaled from seven to nine, then fixed at eight: nothing below."""
    place.make(replicas=7)
    assert place.get("HorizontalPodAutoscaler") is None
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.apply(scaling={"minReplicas": 3, "maxReplicas": 20})
        place.settle()
        assert place.get("HorizontalPodAutoscaler") is not None
        place.apply(scaling={"minReplicas": 2, "maxReplicas": 20}, serving={"maxBatch": 2})
        place.settle()
        scale(place, 9)
        place.apply(scaling={"minReplicas": 2, "maxReplicas": 20}, serving={"maxBatch": 4})
        place.settle()
        place.apply(replicas=8)
        wait_for(lambda: place.get("HorizontalPodAutoscaler") is None, "the autoscaler to go")
        place.settle()
    assert seen == [7, 9, 8]
    assert owns_replicas(place)


def test_scaling_lifts_a_gateway_from_zero(place: Place) -> None:
    """From ``replicas: 0`` an autoscaler would never start."""
    place.make(replicas=0)
    assert place.must_get("Deployment")["spec"]["replicas"] == 0
    place.make(scaling={"minReplicas": 2})
    assert place.must_get("Deployment")["spec"]["replicas"] == 2


def test_a_fixed_number_is_held(place: Place) -> None:
    """`kubectl scale` against ``spec.replicas`` is drift."""
    place.make(replicas=2)
    scale(place, 5)
    wait_for(lambda: place.must_get("Deployment")["spec"]["replicas"] == 2, "two replicas")


@pytest.mark.pain(3)
def test_the_gateways_own_scale_is_enough_for_an_autoscaler(place: Place) -> None:
    """Number and selector can be read through the subresource, and what is set there is kept."""
    place.make(replicas=2)
    path = kinds.GATEWAY.path(place.namespace, "photos", "scale")
    patch = {"spec": {"replicas": 3}}
    place.cluster.patch("InferenceGateway", place.namespace, "photos", patch, subresource="scale")
    wait_for(lambda: place.must_get("Deployment")["spec"]["replicas"] == 3, "three replicas")
    place.wait_settled()
    scale = place.cluster.request("GET", path)
    assert scale["spec"]["replicas"] == 3
    pods = place.must_get("Deployment")["spec"]["selector"]["matchLabels"]
    assert dict(it.split("=") for it in scale["status"]["selector"].split(",")) == pods


@pytest.mark.pain(3)
def test_somebodys_autoscaler_is_not_fought(place: Place) -> None:
    """It wants three where one is fixed: the number stays with it, and a condition names it."""
    place.make(replicas=1)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "photos"}
    rival = {
        "apiVersion": kinds.AUTOSCALER.api_version,
        "kind": kinds.AUTOSCALER.kind,
        "metadata": {"name": "mine", "namespace": place.namespace},
        "spec": {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 5},
    }
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.cluster.apply(rival)
        wait_for(lambda: place.condition("Stalled"), "the rival to be named", timeout_seconds=30)
        place.apply(replicas=2, serving={"maxBatch": 4})
        place.settle()
        time.sleep(6)  # longer than the autoscaler's period
    assert seen == [1, 3]
    for kind, status in (("Stalled", "True"), ("ScalingReady", "False")):
        condition = place.condition(kind)
        assert (condition["status"], condition["reason"]) == (status, "AutoscalerLeftOver")
        assert "HorizontalPodAutoscaler mine sets the replicas" in condition["message"]
    place.cluster.delete("HorizontalPodAutoscaler", place.namespace, "mine")
    place.apply(replicas=4)
    wait_for(lambda: place.must_get("Deployment")["spec"]["replicas"] == 4, "four replicas")


@pytest.mark.pain(4)
def test_what_keda_left_behind_goes_without_the_garbage_collector(place: Place) -> None:
    """It cannot look up an owner of a kind that is gone, and would leave two to scale for ever."""
    place.make(scaling={"minReplicas": 2, "maxReplicas": 20})
    scale(place, 7)
    left = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "keda-hpa-photos",
            "namespace": place.namespace,
            "labels": place.must_get("HorizontalPodAutoscaler")["metadata"]["labels"],
            "ownerReferences": [
                {
                    "apiVersion": "keda.sh/v1alpha1",
                    "kind": "ScaledObject",
                    "name": "photos",
                    "uid": "6c1d3fbe-0d0d-4a3b-9d2e-3f0a8e1f7c11",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "photos"},
            "maxReplicas": 20,
        },
    }
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.cluster.create(left)
        wait_for(
            lambda: place.get("HorizontalPodAutoscaler", "keda-hpa-photos") is None,
            "KEDA's HPA to go",
        )
        place.settle()
    assert seen == [7]
    assert place.get("HorizontalPodAutoscaler") is not None


def test_the_metric_of_desired_replicas_follows(place: Place, operator: OperatorProcess) -> None:
    """SLO rules ask it how many pods there should be."""
    place.make()
    labels = {"namespace": place.namespace, "gateway": "photos"}

    def desired() -> float | None:
        return operator.metric(conventions.METRIC_DESIRED_REPLICAS, **labels)

    assert desired() == 3
    scale(place, 6)
    wait_for(lambda: desired() == 6, "the metric to follow")


def owns_replicas(place: Place) -> bool:
    """Whether the operator is among the owners of the field."""
    entries = place.must_get("Deployment")["metadata"]["managedFields"]
    return any(
        entry["manager"] == conventions.FIELD_MANAGER
        and "f:replicas" in entry["fieldsV1"].get("f:spec", {})
        for entry in entries
    )
