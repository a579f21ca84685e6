"""Routes on a real API server with Gateway API's own CRDs; the controller's word is ours here."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from integration.cluster import Manifest, wait_for
from integration.conftest import Place

HOST = "photos.example.com"
_numbers = itertools.count(1)


@pytest.fixture
def parent(place: Place) -> dict[str, str]:
    """A Gateway of the platform team in a namespace of its own: what a route names."""
    namespace = f"infra-{next(_numbers)}"
    Place(place.cluster, namespace)
    reference = {"name": "public", "namespace": namespace}
    place.cluster.apply(a_parent(reference))
    return reference


def a_parent(reference: dict[str, str], **listener: Any) -> Manifest:
    """A Gateway with one listener, open to all namespaces."""
    usual = {
        "name": "https",
        "protocol": "HTTPS",
        "port": 443,
        "tls": {"certificateRefs": [{"name": "cert"}]},
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": dict(reference),
        "spec": {"gatewayClassName": "any", "listeners": [usual | listener]},
    }


def answer(place: Place, reference: dict[str, str], **changed: tuple[str, str]) -> None:
    """Judge the route as the controller of its Gateway does."""
    generation = place.must_get("HTTPRoute")["metadata"]["generation"]
    words = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")} | changed
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": "said the test",
            "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind, (status, reason) in words.items()
    ]
    parents = [
        {
            "parentRef": reference,
            "controllerName": "example.com/proxy",
            "conditions": conditions,
        }
    ]
    status = {"status": {"parents": parents}}
    place.cluster.patch("HTTPRoute", place.namespace, "photos", status, "status")


def wait_route(place: Place, reason: str, status: str) -> Manifest:
    """Until RouteReady says so."""

    def check() -> Manifest | None:
        found = place.condition("RouteReady")
        is_there = (found.get("reason"), found.get("status")) == (reason, status)
        return found if is_there else None

    found: Manifest = wait_for(check, f"RouteReady to be {status}, {reason}")
    return found


def route(reference: dict[str, str], **fields: Any) -> dict[str, Any]:
    """A Service with a route."""
    return {"route": {"parentRefs": [reference], "hostnames": [HOST]} | fields}


def test_a_route_is_ready_when_its_gateway_says_so(place: Place, parent: dict[str, str]) -> None:
    """Unknown until then; accepted, refused and accepted again; each edit has to be judged anew."""
    place.make(service=route(parent))
    wait_route(place, "RoutePending", "Unknown")
    assert place.gateway()["status"]["url"] == f"http://photos.{place.namespace}.svc"

    answer(place, parent)
    wait_route(place, "RouteAccepted", "True")
    status = place.gateway()["status"]
    assert status["url"] == f"https://{HOST}"
    assert status["address"]["url"] == f"http://photos.{place.namespace}.svc"

    place.apply(service=route(parent, pathPrefix="/photos"))
    wait_route(place, "RoutePending", "Unknown")
    answer(place, parent, Accepted=("False", "NotAllowedByListeners"))
    refusal = wait_route(place, "NotAllowedByListeners", "False")
    assert "said the test" in refusal["message"]
    assert refusal["observedGeneration"] == place.gateway()["metadata"]["generation"]

    answer(place, parent)
    wait_route(place, "RouteAccepted", "True")
    assert place.gateway()["status"]["url"] == f"https://{HOST}/photos"


def test_a_gateway_that_comes_changes_and_goes_is_noticed(place: Place) -> None:
    """Nobody touches the route meanwhile: the Gateway's own events do it."""
    reference = {"name": "late"}
    place.make(service=route(reference))
    missing = wait_route(place, "ParentNotFound", "False")
    assert f"{place.namespace}/late" in missing["message"]

    whole = reference | {"namespace": place.namespace}
    place.cluster.apply(a_parent(whole))
    wait_route(place, "RoutePending", "Unknown")
    answer(place, whole)
    wait_route(place, "RouteAccepted", "True")

    place.cluster.apply(a_parent(whole, port=8443))
    wait_for(
        lambda: place.gateway()["status"]["url"] == f"https://{HOST}:8443", "the port to follow"
    )
    place.cluster.delete("Gateway", place.namespace, "late")
    wait_route(place, "ParentNotFound", "False")


def test_a_route_that_is_no_longer_wanted_goes(place: Place, parent: dict[str, str]) -> None:
    """And with it its condition and the address outside."""
    place.make(service=route(parent))
    answer(place, parent)
    wait_route(place, "RouteAccepted", "True")
    place.make()
    assert place.get("HTTPRoute") is None
    assert place.condition("RouteReady") == {}
    assert place.gateway()["status"]["url"] == f"http://photos.{place.namespace}.svc"


def test_drift_of_a_route_is_repaired(place: Place, parent: dict[str, str]) -> None:
    """Somebody leads /metrics out; it does not last."""
    place.make(service=route(parent))
    before = place.must_get("HTTPRoute")["spec"]["rules"]
    leak = [{"backendRefs": [{"name": "photos", "port": 80}]}]
    place.cluster.patch("HTTPRoute", place.namespace, "photos", {"spec": {"rules": leak}})
    wait_for(lambda: place.must_get("HTTPRoute")["spec"]["rules"] == before, "the rules to be back")
