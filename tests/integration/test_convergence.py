"""The cluster gets where the gateway asks it to be, stays there, and nothing else happens."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from igw_operator import conventions
from integration.cluster import wait_for
from integration.conftest import Place
from integration.operator_process import OperatorProcess

EXPECTED = {
    ("ServiceAccount", "photos"),
    ("ServiceAccount", "photos-collector"),
    ("ConfigMap", "photos-config"),
    ("Service", "photos"),
    ("Service", "photos-metrics"),
    ("Service", "photos-collector"),
    ("Deployment", "photos"),
    ("Deployment", "photos-collector"),
    ("HorizontalPodAutoscaler", "photos"),
    ("PodDisruptionBudget", "photos"),
    ("NetworkPolicy", "photos"),
    ("NetworkPolicy", "photos-collector"),
}
MONITORING = ("ServiceMonitor", "PrometheusRule")


def test_one_gateway_becomes_all_children_and_owns_them(place: Place) -> None:
    """Every child exists once, owned by the gateway, each made by exactly one write."""
    with place.recording() as writes:
        gateway = place.make()
    children = place.children()
    names = {key for key in children if key[0] not in MONITORING}
    config = children["Deployment", "photos-collector"]["spec"]["template"]["spec"]["volumes"][0]
    assert names == EXPECTED | {("ConfigMap", config["configMap"]["name"])}
    assert {kind for kind, _ in children} >= set(MONITORING)
    for child in children.values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (gateway["metadata"]["uid"], True)
    applied = [(it.resource, it.name) for it in writes if not it.subresource and it.verb == "patch"]
    assert len(applied) == len(set(applied)) == len(children)
    assert all(it.code < 300 for it in writes)


@pytest.mark.pain(8)
def test_the_gateway_itself_is_left_alone(place: Place) -> None:
    """No finalizer, no annotation, no change of spec: nothing of the operator but the status."""
    before = place.apply()["metadata"]
    after = place.settle()["metadata"]
    assert "finalizers" not in after
    assert after["generation"] == before["generation"] == 1
    assert "annotations" not in after
    managers = {entry["manager"] for entry in after["managedFields"]}
    assert managers == {"tester", conventions.STATUS_MANAGER}


@pytest.mark.pain(9)
def test_a_settled_gateway_causes_no_writes(place: Place) -> None:
    """Five quiet seconds in the audit log."""
    place.make()
    with place.recording() as writes:
        time.sleep(5.5)
    assert writes == []


def test_a_touched_gateway_causes_no_writes_to_children(place: Place) -> None:
    """A new annotation on the gateway is a reconcile, and finds nothing to do."""
    place.make()
    with place.recording() as writes:
        patch = {"metadata": {"annotations": {"touched": "yes"}}}
        place.cluster.patch("InferenceGateway", place.namespace, "photos", patch)
        time.sleep(2)
    assert writes == []


def test_drift_is_repaired_by_one_write_and_told(place: Place) -> None:
    """Somebody sends traffic elsewhere; it is put right once, and an event says so."""
    place.make()
    with place.recording() as writes:
        ports = [{"name": "http", "port": 80, "targetPort": 9999, "protocol": "TCP"}]
        place.cluster.patch("Service", place.namespace, "photos", {"spec": {"ports": ports}})
        wait_for(
            lambda: place.must_get("Service")["spec"]["ports"][0]["targetPort"] != 9999,
            "the port to be put right",
        )
        (event,) = wait_for(lambda: _events(place, "DriftRepaired"), "an event")
        place.wait_settled()
    assert [it.resource for it in writes if it.resource != "events"] == ["services"]
    assert "Service photos" in event["message"]
    assert "spec.ports" in event["message"]


def test_drift_that_collides_with_our_own_field_does_not_wedge_us(place: Place) -> None:
    """A changed port is another item of the list; it becomes ours, and goes with the next apply."""
    place.make()
    before = place.must_get("Service")
    with place.recording() as writes:
        ports = [{"name": "http", "port": 81, "targetPort": "http", "protocol": "TCP"}]
        place.cluster.patch("Service", place.namespace, "photos", {"spec": {"ports": ports}})
        wait_for(lambda: _same(place.must_get("Service"), before), "the port to be put back")
        place.wait_settled()
    accepted = [it for it in writes if it.resource == "services" and it.code < 300]
    assert len(accepted) == 2, "one that takes the field over, one that applies"


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        pytest.param(
            "ConfigMap",
            {"data": {"runtime.json": "{}"}},
            id="a key of a ConfigMap",
        ),
        pytest.param(
            "NetworkPolicy",
            {"spec": {"ingress": [{}]}},
            id="an atomic list",
        ),
        pytest.param(
            "PodDisruptionBudget",
            {"metadata": {"ownerReferences": None}},
            id="a stripped owner reference",
        ),
        pytest.param(
            "Deployment",
            {"metadata": {"labels": {conventions.LABEL_MANAGED_BY: "me"}}},
            id="the label by which we watch",
        ),
        pytest.param(
            "HorizontalPodAutoscaler",
            {"spec": {"maxReplicas": 4}},
            id="a number",
        ),
    ],
)
def test_any_drift_is_repaired_by_one_write(place: Place, kind: str, patch: dict[str, Any]) -> None:
    """Whatever was changed is as it was."""
    place.make()
    name = "photos-config" if kind == "ConfigMap" else "photos"
    before = place.must_get(kind, name)
    with place.recording() as writes:
        place.cluster.patch(kind, place.namespace, name, patch)
        wait_for(lambda: _same(place.must_get(kind, name), before), "it to be put back")
        place.wait_settled()
    assert len([it for it in writes if it.resource != "events" and not it.subresource]) == 1


@pytest.mark.pain(15)
def test_fields_of_others_are_left_and_counted(place: Place, operator: OperatorProcess) -> None:
    """A label, an annotation and `kubectl rollout restart` stay, and cause no write."""
    place.make()
    template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    patch = {
        "metadata": {"labels": {"team": "vision"}, "annotations": {"note": "mine"}},
        "spec": {"template": template},
    }
    with place.recording() as writes:
        place.cluster.patch("Deployment", place.namespace, "photos", patch, fieldManager="vision")
        time.sleep(2)
    deployment = place.must_get("Deployment")
    assert deployment["metadata"]["labels"]["team"] == "vision"
    restarted = deployment["spec"]["template"]["metadata"]["annotations"]
    assert restarted["kubectl.kubernetes.io/restartedAt"] == "now"
    assert [it for it in writes if it.resource == "deployments"] == []
    whose = {"kind": "Deployment", "manager": "vision"}
    assert operator.metric("igw_operator_foreign_fields", **whose) == 3
    place.cluster.delete("Deployment", place.namespace, "photos")
    gone = partial(operator.metric, "igw_operator_foreign_fields", **whose)
    wait_for(lambda: gone() is None, "them to be forgotten with the object")


def test_a_deleted_child_is_made_again(place: Place) -> None:
    """Within seconds, by one write."""
    place.make()
    before = place.must_get("Service")
    with place.recording() as writes:
        place.cluster.delete("Service", place.namespace, "photos")
        wait_for(
            lambda: (
                (place.get("Service") or before)["metadata"]["uid"] != before["metadata"]["uid"]
            ),
            "the Service to be back",
        )
        place.wait_settled()
    assert [it.verb for it in writes if it.resource == "services"] == ["patch"]


def test_an_edited_slo_changes_rules_and_settings_within_seconds_and_no_pod(place: Place) -> None:
    """The threshold moves: PrometheusRule and ConfigMap change, the pod template does not."""
    place.make()
    template = place.must_get("Deployment")["spec"]["template"]
    rules = {key: it for key, it in place.children().items() if key[0] == "PrometheusRule"}
    config = place.must_get("ConfigMap", "photos-config")["data"]
    started = time.monotonic()
    place.apply(slo={"latency": {"threshold": "500ms"}})
    wait_for(
        lambda: (
            place.must_get("ConfigMap", "photos-config")["data"] != config
            and {k: it for k, it in place.children().items() if k[0] == "PrometheusRule"} != rules
        ),
        "rules and settings to change",
        timeout_seconds=5,
    )
    assert time.monotonic() - started < 5
    place.settle()
    assert place.must_get("Deployment")["spec"]["template"] == template


def test_a_child_that_is_no_longer_wanted_goes(place: Place) -> None:
    """Without a network policy there is none, and the rest stays."""
    place.make()
    place.apply(networkPolicy={"enabled": False})
    wait_for(lambda: place.get("NetworkPolicy") is None, "the policy to go")
    place.settle()
    kinds = {kind for kind, _ in place.children()}
    assert "NetworkPolicy" not in kinds
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= kinds


@pytest.mark.pain(7)
def test_a_restart_writes_nothing(place: Place, operator: OperatorProcess) -> None:
    """A new process looks at everything and finds it done."""
    place.make()
    with place.recording() as writes:
        assert operator.stop() == 0
        operator.start()
        time.sleep(3)
    assert writes == []


def test_what_happened_while_the_operator_was_down_is_made_up_for(
    place: Place, operator: OperatorProcess
) -> None:
    """A child deleted, a child changed and a gateway edited meanwhile."""
    place.make()
    operator.stop()
    try:
        place.cluster.delete("PodDisruptionBudget", place.namespace, "photos")
        patch = {"spec": {"maxReplicas": 4}}
        place.cluster.patch("HorizontalPodAutoscaler", place.namespace, "photos", patch)
        place.apply(observability={"logging": {"level": "debug"}})
    finally:
        operator.start()
    place.settle()
    assert place.get("PodDisruptionBudget") is not None
    assert place.must_get("HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 20
    assert '"debug"' in place.must_get("ConfigMap", "photos-config")["data"]["runtime.json"]


@pytest.mark.parametrize("is_down", [False, True], ids=["operator at work", "operator down"])
@pytest.mark.pain(8)
def test_a_deleted_gateway_takes_its_children_along(
    place: Place, operator: OperatorProcess, *, is_down: bool
) -> None:
    """The garbage collector does it: no finalizer waits for anybody."""
    place.make()
    if is_down:
        operator.stop()
    try:
        place.cluster.delete("InferenceGateway", place.namespace, "photos")
        wait_for(lambda: not place.children(), "the children to go", timeout_seconds=60)
    finally:
        if is_down:
            operator.start()
    labels = {"namespace": place.namespace, "gateway": "photos"}
    wait_for(
        lambda: operator.metric(conventions.METRIC_DESIRED_REPLICAS, **labels) is None,
        "its metric to go",
    )


@pytest.mark.pain(8)
def test_a_gateway_that_cannot_be_done_is_deleted_all_the_same(place: Place) -> None:
    """Nothing that is wrong with it stands before its end, for nothing waits for its end."""
    place.make()
    place.apply(runtimeRef={"name": "nowhere"})
    wait_for(lambda: place.condition("Stalled"), "it to be stalled")
    place.cluster.delete("InferenceGateway", place.namespace, "photos")
    assert place.cluster.get("InferenceGateway", place.namespace, "photos") is None
    wait_for(lambda: not place.children(), "the children to go", timeout_seconds=60)


def _events(place: Place, reason: str) -> list[Any]:
    return [it for it in place.cluster.list_all("Event", place.namespace) if it["reason"] == reason]


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Equal but for what every write changes."""

    def strip(manifest: dict[str, Any]) -> dict[str, Any]:
        ignored = {"resourceVersion", "generation", "managedFields"}
        metadata = {k: v for k, v in manifest["metadata"].items() if k not in ignored}
        return {**manifest, "metadata": metadata, "status": None}

    return strip(now) == strip(before)
