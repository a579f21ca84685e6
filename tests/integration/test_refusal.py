"""What cannot be done is refused at once, or said in a condition that names the field."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bad_gateways import BAD_GATEWAYS, BadGateway
from factories import RUNTIME_IMAGE, gateway_manifest
from igw_operator import conventions
from integration.cluster import Cluster, RefusedError, wait_for
from integration.conftest import Place
from integration.operator_process import OperatorProcess


@pytest.mark.parametrize("bad", BAD_GATEWAYS, ids=[bad.sentence for bad in BAD_GATEWAYS])
@pytest.mark.pain(15)
def test_the_api_server_refuses(cluster: Cluster, bad: BadGateway) -> None:
    """The message names the field and says what to write."""
    spec = {"model": {"name": "resnet50"}} | bad.spec
    manifest = gateway_manifest(bad.name, "default", **spec)
    with pytest.raises(RefusedError) as refusal:
        cluster.create(manifest)
    assert refusal.value.status in {400, 422}, refusal.value
    assert bad.says in refusal.value.message


def test_the_longest_name_works(place: Place) -> None:
    """Sixty-three characters: children get a shorter name with a hash, and all exist."""
    name = "a" * 63
    place.make(name)
    children = place.children()
    assert len(children) == 16
    assert all(len(child) <= (253 if kind == "ConfigMap" else 63) for kind, child in children)


def test_two_names_that_begin_alike_do_not_meet(place: Place) -> None:
    """Each has children of its own."""
    place.make("b" * 62 + "1")
    place.make("b" * 62 + "2")
    assert len([kind for kind, _ in place.children() if kind == "PodDisruptionBudget"]) == 2


@pytest.mark.parametrize(
    ("spec", "path", "says"),
    [
        pytest.param(
            {"runtimeRef": {"name": "nowhere"}},
            "spec.runtimeRef.name",
            "default",
            id="an unknown runtime",
        ),
        pytest.param(
            {"model": {"name": "nonesuch"}},
            "spec.model.name",
            "resnet50",
            id="an unknown model",
        ),
    ],
)
@pytest.mark.pain(15)
def test_what_only_the_operator_can_know_stalls(
    place: Place, spec: dict[str, Any], path: str, says: str
) -> None:
    """Stalled, with the field and the names that would do; no child, no storm of retries."""
    with place.recording() as writes:
        place.apply(**spec)
        wait_for(lambda: place.condition("Stalled").get("status") == "True", "Stalled")
        time.sleep(2)
    stalled = place.condition("Stalled")
    assert path in stalled["message"]
    assert says in stalled["message"]
    assert place.condition("Ready")["status"] == "False"
    assert place.children() == {}
    assert {it.subresource or it.resource for it in writes} <= {"status", "events"}
    assert len(writes) <= 3


@pytest.mark.pain(15)
def test_a_gateway_recovers_when_its_runtime_appears(place: Place) -> None:
    """Nobody touches the gateway; the runtime's arrival is enough."""
    name = f"late-{place.namespace}"
    place.apply(runtimeRef={"name": name})
    wait_for(lambda: place.condition("Stalled").get("status") == "True", "Stalled")
    runtime = {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {"name": name},
        "spec": {"image": RUNTIME_IMAGE},
    }
    place.cluster.apply(runtime)
    wait_for(lambda: place.get("Deployment"), "the Deployment")
    place.settle()
    assert place.condition("Stalled") == {}
    wait_for(
        lambda: place.cluster.must_get("InferenceRuntime", "", name)["status"]["gateways"] == 1,
        "the runtime to be counted",
    )


def test_a_bad_edit_leaves_what_serves_alone(place: Place) -> None:
    """The children of the last good spec stay, untouched."""
    place.make()
    before = place.children()
    place.apply(model={"name": "nonesuch"})
    wait_for(lambda: place.condition("Stalled").get("status") == "True", "Stalled")
    place.wait_settled()
    assert place.children().keys() == before.keys()
    place.make()
    assert place.condition("Stalled") == {}


@pytest.mark.parametrize("labels", [{}, {conventions.LABEL_MANAGED_BY: "igw-operator"}])
def test_an_object_of_somebody_else_is_left_alone(place: Place, labels: dict[str, str]) -> None:
    """It stays as it is, a condition names it, the siblings are made; and it can be resolved."""
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "photos-config", "namespace": place.namespace, "labels": labels},
        "data": {"mine": "yes"},
    }
    place.cluster.create(foreign)
    before = place.must_get("ConfigMap", "photos-config")
    place.make()
    assert place.must_get("ConfigMap", "photos-config") == before
    ready = place.condition("Ready")
    assert ready["status"] == "False"
    assert "photos-config" in ready["message"]
    assert place.get("Service") is not None
    assert place.get("Deployment") is not None
    with place.recording() as writes:
        time.sleep(3)
    assert writes == []
    place.cluster.delete("ConfigMap", place.namespace, "photos-config")
    touch = {"metadata": {"annotations": {"again": "please"}}}
    place.cluster.patch("InferenceGateway", place.namespace, "photos", touch)
    wait_for(lambda: place.get("ConfigMap", "photos-config"), "our own", timeout_seconds=45)


def test_one_child_that_cannot_be_written_does_not_stop_its_siblings(
    place: Place, operator: OperatorProcess
) -> None:
    """A quota forbids ConfigMaps: the condition says so, the rest is made, and no hot loop."""
    del operator
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": place.namespace},
        "spec": {"hard": {"configmaps": "0"}},
    }
    place.cluster.apply(quota)
    time.sleep(1)  # the quota controller has to see it
    place.apply()
    wait_for(lambda: place.get("PodDisruptionBudget"), "the last child")
    wait_for(lambda: "quota" in place.condition("Ready").get("message", ""), "the reason")
    place.wait_settled()
    with place.recording() as writes:
        time.sleep(5)
    assert len(writes) <= 2, "at most one more attempt at two ConfigMaps"
    place.cluster.request("DELETE", f"/api/v1/namespaces/{place.namespace}/resourcequotas/none")
    wait_for(lambda: place.get("ConfigMap", "photos-config"), "it to be made", timeout_seconds=90)
