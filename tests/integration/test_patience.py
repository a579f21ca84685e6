"""What the API server refuses, or somebody sets back, is not tried again at every event."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from igw_operator import kinds
from integration.cluster import wait_for
from integration.conftest import Place
from integration.operator_process import OperatorProcess

QUIET: dict[str, Any] = {"replicas": 0, "observability": {"collector": {"mode": "Disabled"}}}


@pytest.mark.pain(9)
def test_a_refused_child_is_not_sent_again_at_each_event(
    place: Place, operator: OperatorProcess
) -> None:
    """A quota refuses it; fifty events later it was tried twice at most, and told as often."""
    _allow(place, configmaps="0")
    place.apply(**QUIET)
    wait_for(lambda: place.condition("Ready").get("reason") == "QuotaExceeded", "the reason")
    place.wait_settled()
    told = operator.log.read_text().count(place.namespace)
    with place.recording() as writes:
        for number in range(50):
            patch = {"metadata": {"annotations": {"touched": str(number)}}}
            place.cluster.patch("InferenceGateway", place.namespace, "photos", patch)
            place.cluster.patch("Service", place.namespace, "photos", patch)
            time.sleep(0.1)
        place.wait_settled()
    assert len([it for it in writes if it.resource == "configmaps"]) <= 2
    assert [it for it in writes if it.resource not in {"configmaps", "events"}] == []
    assert operator.log.read_text().count(place.namespace) - told <= 4
    place.cluster.request("DELETE", f"/api/v1/namespaces/{place.namespace}/resourcequotas/limit")
    wait_for(lambda: place.get("ConfigMap", "photos-config"), "it to be made", timeout_seconds=60)
    place.wait_settled()
    assert place.condition("Ready")["status"] == "True"


def test_siblings_go_on_while_a_child_waits(place: Place) -> None:
    """An edit that concerns another child is applied at once."""
    _allow(place, configmaps="0")
    place.apply(**QUIET)
    wait_for(lambda: place.condition("Ready").get("reason") == "QuotaExceeded", "the reason")
    place.apply(**QUIET, service={"type": "NodePort"})
    wait_for(lambda: place.must_get("Service")["spec"]["type"] == "NodePort", "the edit", 5)


def test_a_child_that_cannot_be_changed_any_more_is_named(place: Place) -> None:
    """Made anew by hand with another selector, which is immutable: 422, said, and healed."""
    place.make(**QUIET)
    ours = place.must_get("Deployment")
    place.cluster.delete("Deployment", place.namespace, "photos", propagationPolicy="Background")
    wait_for(lambda: (place.get("Deployment") or ours)["metadata"]["uid"] != _uid(ours), "it anew")
    ours = place.must_get("Deployment")
    other = _with_another_selector(ours)
    for _ in range(200):  # until we are faster than the operator
        place.cluster.delete("Deployment", place.namespace, "photos")
        if _try_to_create(place, other):
            break
    wait_for(lambda: place.condition("Ready").get("reason") == "ApplyRejected", "the reason")
    message = place.condition("Ready")["message"]
    assert "Deployment photos was refused" in message
    assert "field is immutable" in message
    assert place.condition("Stalled")["status"] == "True"
    place.wait_settled()
    with place.recording() as writes:
        time.sleep(5)
    assert len([it for it in writes if it.resource == "deployments"]) <= 1
    place.cluster.delete("Deployment", place.namespace, "photos")
    wait_for(lambda: place.condition("Ready").get("status") == "True", "it to be ours", 30)


@pytest.mark.pain(9)
def test_a_fight_over_a_field_ends_in_a_truce_that_names_the_other(
    place: Place, operator: OperatorProcess
) -> None:
    """Another controller sets the type back at every event; both could do it for ever."""
    place.make(**QUIET)
    with place.recording() as writes, _fighting(place) as rounds:
        wait_for(lambda: place.condition("Stalled").get("reason") == "FieldContested", "a truce")
        stalled = place.condition("Stalled")
        assert "Service photos: spec.type is set by intruder again and again" in stalled["message"]
        assert "--show-managed-fields" in stalled["message"]
        assert place.condition("Ready")["status"] == "False"
        assert operator.metric("igw_operator_contested_children") == 1
        time.sleep(12)  # the first truce is ten seconds long
    assert 6 <= len(rounds) <= 8, "five repairs at once, and one or two after a truce"
    repairs = [it for it in writes if it.resource == "services"]
    assert len(repairs) <= 7
    assert len(_events(place, "FieldContested")) == 1
    (told,) = _events(place, "DriftRepaired")
    assert told["series"]["count"] >= 5
    # The events are few, too: one of each kind, and its count.
    assert len([it for it in writes if it.resource == "events"]) <= 14
    wait_for(
        lambda: place.must_get("Service")["spec"]["type"] == "ClusterIP",
        "peace",
        timeout_seconds=60,
    )
    wait_for(lambda: place.condition("Ready").get("status") == "True", "Ready", timeout_seconds=20)
    assert place.condition("Stalled") == {}


def test_somebodys_autoscaler_that_goes_is_noticed_soon(place: Place) -> None:
    """Nothing tells us of an autoscaler that is not ours; we look, and not ever more seldom."""
    place.make(**QUIET | {"replicas": 1})
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "photos"}
    rival = {
        "apiVersion": kinds.AUTOSCALER.api_version,
        "kind": kinds.AUTOSCALER.kind,
        "metadata": {"name": "mine", "namespace": place.namespace},
        "spec": {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 5},
    }
    place.cluster.apply(rival)
    wait_for(lambda: place.condition("Stalled"), "it to be named", timeout_seconds=30)
    time.sleep(20)  # by now a pause that doubles would be long
    place.cluster.delete(kinds.AUTOSCALER.kind, place.namespace, "mine")
    wait_for(
        lambda: place.must_get("Deployment")["spec"]["replicas"] == 1,
        "our own number",
        timeout_seconds=20,
    )


@contextmanager
def _fighting(place: Place) -> Iterator[list[str]]:
    """Set the type of the Service back as soon as it is put right; the list has the rounds."""
    rounds: list[str] = []
    ends = threading.Event()

    def fight() -> None:
        path = kinds.SERVICE.path(place.namespace, "photos")
        content = "application/merge-patch+json"
        while not ends.wait(0.05):
            service = place.must_get("Service")
            if service["spec"]["type"] != "NodePort":
                body = {"spec": {"type": "NodePort"}}
                place.cluster.request("PATCH", path, body, content, fieldManager="intruder")
                rounds.append(service["metadata"]["resourceVersion"])

    thread = threading.Thread(target=fight, daemon=True)
    thread.start()
    try:
        yield rounds
    finally:
        ends.set()
        thread.join(10)


def _allow(place: Place, **hard: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "limit", "namespace": place.namespace},
        "spec": {"hard": hard},
    }
    place.cluster.apply(quota)
    path = f"/api/v1/namespaces/{place.namespace}/resourcequotas/limit"
    # The quota controller has to see it.
    wait_for(lambda: place.cluster.request("GET", path).get("status", {}).get("hard"), "the quota")


def _with_another_selector(ours: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    metadata = {key: ours["metadata"][key] for key in kept}
    labels = ours["spec"]["template"]["metadata"]["labels"] | {"by": "hand"}
    template = ours["spec"]["template"] | {"metadata": {"labels": labels}}
    spec = ours["spec"] | {"selector": {"matchLabels": {"by": "hand"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _try_to_create(place: Place, manifest: dict[str, Any]) -> bool:
    try:
        place.cluster.create(manifest)
    except Exception:  # noqa: BLE001 - the operator was faster
        return False
    return True


def _events(place: Place, reason: str) -> list[Any]:
    path = f"/apis/events.k8s.io/v1/namespaces/{place.namespace}/events"
    events = place.cluster.request("GET", path)["items"]
    return [it for it in events if it["reason"] == reason]


def _uid(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["uid"])
