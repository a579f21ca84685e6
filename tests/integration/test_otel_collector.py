"""The collector in the hands of the OpenTelemetry operator, and every way there and back.

Its CRD is the real one. The operator itself is played: `take_up` makes what release 0.148 makes
of a collector, with the same names, labels and owner. The real garbage collector takes it away.
"""

from __future__ import annotations

from typing import Any

from integration.cluster import Manifest, wait_for
from integration.conftest import Place

COLLECTOR = "OpenTelemetryCollector"
NAME = "photos-collector"
DELEGATED: dict[str, Any] = {"observability": {"collector": {"mode": COLLECTOR}}}


def take_up(place: Place) -> None:
    """Make of the collector what the OpenTelemetry operator makes, as far as it concerns us."""
    collector = place.must_get(COLLECTOR)
    own = {
        "app.kubernetes.io/component": "opentelemetry-collector",
        "app.kubernetes.io/instance": f"{place.namespace}.photos",
        "app.kubernetes.io/managed-by": "opentelemetry-operator",
        "app.kubernetes.io/part-of": "opentelemetry",
    }
    reference = {
        "apiVersion": collector["apiVersion"],
        "kind": COLLECTOR,
        "name": "photos",
        "uid": collector["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": NAME,
        "namespace": place.namespace,
        "labels": collector["metadata"]["labels"] | own,
        "annotations": collector["metadata"]["annotations"],
        "ownerReferences": [reference],
    }
    container = {"name": "otc-container", "image": collector["spec"]["image"]}
    template = {"metadata": {"labels": metadata["labels"]}, "spec": {"containers": [container]}}
    deployment = {"selector": {"matchLabels": own}, "template": template}
    service = {"selector": own, "ports": [{"name": "otlp-http", "port": 4318}]}
    head: Manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    place.cluster.create(head | {"spec": deployment})
    place.cluster.create(head | {"apiVersion": "v1", "kind": "Service", "spec": service})


def owner_of(place: Place, kind: str) -> str | None:
    """The kind of object that an object named like the collector belongs to."""
    found = place.get(kind, NAME)
    return found["metadata"]["ownerReferences"][0]["kind"] if found else None


def test_our_collector_is_gone_before_the_other_one_is_asked_for(place: Place) -> None:
    """Else the OpenTelemetry operator would seize our Service and delete our Deployment."""
    place.make()
    before = place.must_get("Deployment")["spec"]["template"]
    with place.recording() as writes:
        place.make(**DELEGATED)
    order = [(it.verb, it.resource) for it in writes if it.name in {NAME, "photos"}]
    asked = order.index(("patch", "opentelemetrycollectors"))
    assert order.index(("delete", "deployments")) < asked
    assert order.index(("delete", "services")) < asked
    assert not [key for key in place.children() if key[0] == "ConfigMap" and NAME in key[1]]
    assert place.must_get("Deployment")["spec"]["template"] == before, "runtime pods restarted"


def test_it_is_ready_when_the_opentelemetry_operator_has_made_it_so(place: Place) -> None:
    """Unknown while nobody takes it up, and while its pods start; its status is believed."""
    place.make(**DELEGATED)
    telemetry = place.condition("TelemetryReady")
    assert telemetry["status"] == "Unknown"
    assert "has made nothing of" in telemetry["message"]

    ready = {"status": {"scale": {"replicas": 1, "statusReplicas": "1/1"}}}
    place.cluster.patch(COLLECTOR, place.namespace, "photos", ready, "status")
    wait_for(
        lambda: place.condition("TelemetryReady")["reason"] == "CollectorAvailable",
        "the collector to be believed",
    )
    # The Deployment tells more than the status, and it has no pod that runs.
    take_up(place)
    wait_for(
        lambda: place.condition("TelemetryReady")["status"] == "Unknown",
        "the Deployment to be looked at",
    )
    place.wait_settled()
    with place.recording() as writes:
        place.cluster.patch(COLLECTOR, place.namespace, "photos", _touched())
        place.wait_settled()
    assert [it for it in writes if it.subresource != "status"] == [], "it fights"


def test_every_way_from_mode_to_mode_strands_nothing(place: Place) -> None:
    """There and back, and off from either side: what is left is what the mode needs."""
    place.make(**DELEGATED)
    take_up(place)
    account = ("ServiceAccount", NAME)

    place.make()
    for kind in ("Deployment", "Service"):
        wait_for(
            lambda kind=kind: owner_of(place, kind) == "InferenceGateway",  # type: ignore[misc]
            f"our {kind} to be back",
            timeout_seconds=40,
        )
    assert place.get(COLLECTOR) is None
    assert account in place.children()

    place.make(**DELEGATED)
    take_up(place)
    place.make(observability={"collector": {"mode": "Disabled"}})
    wait_for(
        lambda: owner_of(place, "Deployment") is None and owner_of(place, "Service") is None,
        "the garbage collector",
        timeout_seconds=40,
    )
    assert not [name for _, name in place.children() if name == NAME]

    place.make(**DELEGATED)
    external = {"mode": "External", "endpoint": "http://otel.monitoring:4318"}
    place.make(observability={"collector": external})
    assert place.get(COLLECTOR) is None
    assert account not in place.children()


def test_somebody_elses_collector_of_that_name_is_left_alone(place: Place) -> None:
    """It is named in the condition; serving goes on; what it made is not waited for."""
    config: Manifest = {"receivers": {}, "exporters": {}, "service": {"pipelines": {}}}
    theirs = place.cluster.create(
        {
            "apiVersion": "opentelemetry.io/v1beta1",
            "kind": COLLECTOR,
            "metadata": {
                "name": "photos",
                "namespace": place.namespace,
                "labels": {"team": "tracing"},
                "annotations": {"team": "tracing"},
            },
            "spec": {"config": config, "image": "theirs:1"},
        }
    )
    place.make(**DELEGATED)
    wait_for(lambda: place.condition("TelemetryReady")["reason"] == "ForeignObject", "the refusal")
    assert place.must_get(COLLECTOR)["metadata"]["generation"] == theirs["metadata"]["generation"]
    assert place.get("Deployment") is not None

    take_up(place)
    place.make()
    found = place.condition("TelemetryReady")
    assert (found["status"], found["reason"]) == ("False", "ForeignObject")
    assert owner_of(place, "Service") == COLLECTOR


def _touched() -> dict[str, Any]:
    return {"metadata": {"annotations": {"touched": "yes"}}}
