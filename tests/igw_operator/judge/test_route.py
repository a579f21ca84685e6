"""RouteReady, and the address outside: what the controllers of Gateways say, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from igw_operator.api.objects import Manifest, ObjectKey
from igw_operator.judge.reasons import Reason
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.status import judge
from igw_operator.plan.inputs import Capabilities
from scenes import FULL, NOW, a_failure, a_snapshot, condition, condition_of, with_child

ROUTE = ("HTTPRoute", "photos")
PUBLIC = {"name": "public", "namespace": "infra"}
INTERNAL = {"name": "internal", "sectionName": "http"}
OPEN = {"namespaces": {"from": "All"}}


def a_listener(protocol: str = "HTTP", **fields: Any) -> dict[str, Any]:
    """A listener of a Gateway, open to all namespaces."""
    ports = {"HTTP": 80, "HTTPS": 443, "TLS": 443}
    name = protocol.lower()
    return {
        "name": name,
        "protocol": protocol,
        "port": ports[protocol],
        "allowedRoutes": OPEN,
    } | fields


def a_parent(
    *listeners: Mapping[str, Any], programmed: str = "True", addresses: Sequence[str] = ()
) -> Manifest:
    """A Gateway of the platform team."""
    said = condition("Programmed", programmed, "Invalid", "no address of the pool is left")
    status = {"conditions": [said], "addresses": [{"value": it} for it in addresses]}
    return {"kind": "Gateway", "spec": {"listeners": list(listeners)}, "status": status}


def an_answer(
    reference: Mapping[str, Any], *, generation: int = 1, **changed: tuple[str, str, str]
) -> dict[str, Any]:
    """What a controller writes about one parent: it accepts, but for the changes."""
    usual = {
        "Accepted": ("True", "Accepted", "Route is accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs", "Resolved all the references"),
    }
    conditions = [
        condition(kind, *words) | {"observedGeneration": generation}
        for kind, words in (usual | changed).items()
    ]
    named = {"group": "gateway.networking.k8s.io", "kind": "Gateway"} | dict(reference)
    return {"parentRef": named, "controllerName": "example.com/proxy", "conditions": conditions}


def routed(
    *answers: Mapping[str, Any],
    parents: Mapping[ObjectKey, Manifest] | None = None,
    route: Mapping[str, Any] | None = None,
    capabilities: Capabilities = FULL,
) -> Snapshot:
    """A gateway with a route through Gateway infra/public, and what was said of it."""
    asked = {"parentRefs": [PUBLIC], "hostnames": ["photos.example.com"]} | dict(route or {})
    snapshot = a_snapshot(spec={"service": {"route": asked}}, capabilities=capabilities)
    known = {
        ObjectKey("infra", "public"): a_parent(a_listener("HTTPS")),
        ObjectKey("demo", "internal"): a_parent(a_listener()),
    }
    snapshot = replace(snapshot, parents=known if parents is None else parents)
    if ROUTE in snapshot.children:
        live = snapshot.children[ROUTE] | {"status": {"parents": list(answers)}}
        snapshot = with_child(snapshot, ROUTE, live)
    return snapshot


def judged(snapshot: Snapshot) -> tuple[str, str, str]:
    """Status, reason and message of RouteReady."""
    found = condition_of(judge(snapshot, None, NOW), "RouteReady")
    return found["status"], found["reason"], found["message"]


def url_of(snapshot: Snapshot) -> tuple[str, str]:
    """The address to call, and the one in the cluster."""
    status = judge(snapshot, None, NOW)
    return status["url"], status["address"]["url"]


CASES: dict[str, tuple[Snapshot, str, Reason, str]] = {
    "its only Gateway accepts it": (
        routed(an_answer(PUBLIC)),
        "True",
        Reason.ROUTE_ACCEPTED,
        "Gateway infra/public accepts HTTPRoute photos",
    ),
    "no controller has spoken": (routed(), "Unknown", Reason.ROUTE_PENDING, "describe gateway"),
    "somebody else's parent was judged": (
        routed(an_answer({"name": "public", "namespace": "other"})),
        "Unknown",
        Reason.ROUTE_PENDING,
        "Gateway infra/public",
    ),
    "the answer is about an older generation": (
        routed(an_answer(PUBLIC, generation=0)),
        "Unknown",
        Reason.ROUTE_PENDING,
        "as it is now",
    ),
    "half of the answer is missing": (
        routed(an_answer(PUBLIC, ResolvedRefs=("Unknown", "Pending", ""))),
        "Unknown",
        Reason.ROUTE_PENDING,
        "describe httproute photos -n demo",
    ),
    "the controller is still at it": (
        routed(an_answer(PUBLIC, Accepted=("False", "Pending", "wait"))),
        "Unknown",
        Reason.ROUTE_PENDING,
        "as it is now",
    ),
    "no listener takes routes of this namespace": (
        routed(an_answer(PUBLIC, Accepted=("False", "NotAllowedByListeners", "from: Same"))),
        "False",
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "from: Same",
    ),
    "the Service is not found": (
        routed(an_answer(PUBLIC, ResolvedRefs=("False", "BackendNotFound", "photos"))),
        "False",
        Reason.BACKEND_NOT_FOUND,
        "refuses HTTPRoute photos",
    ),
    "a controller has words of its own": (
        routed(an_answer(PUBLIC, Accepted=("False", "TooManyRoutes", "the limit is 5"))),
        "False",
        Reason.ROUTE_NOT_ACCEPTED,
        "TooManyRoutes: the limit is 5",
    ),
    "a part of the route is left out": (
        routed(an_answer(PUBLIC, PartiallyInvalid=("True", "UnsupportedValue", "no timeouts"))),
        "False",
        Reason.UNSUPPORTED_VALUE,
        "no timeouts",
    ),
    "one of two Gateways refuses it": (
        routed(
            an_answer(PUBLIC),
            an_answer(INTERNAL, Accepted=("False", "NoMatchingParent", "no listener http")),
            route={"parentRefs": [PUBLIC, INTERNAL]},
        ),
        "False",
        Reason.NO_MATCHING_PARENT,
        "Gateway demo/internal, listener http,",
    ),
    "one of two has not spoken": (
        routed(an_answer(PUBLIC), route={"parentRefs": [PUBLIC, INTERNAL]}),
        "Unknown",
        Reason.ROUTE_PENDING,
        "demo/internal",
    ),
    "there is no such Gateway": (
        routed(parents={}),
        "False",
        Reason.PARENT_NOT_FOUND,
        "Next: kubectl get gateway -A",
    ),
    "the Gateway went after it had accepted": (
        routed(an_answer(PUBLIC), parents={}),
        "False",
        Reason.PARENT_NOT_FOUND,
        "infra/public",
    ),
    "the Gateway itself does not work": (
        routed(
            an_answer(PUBLIC),
            parents={ObjectKey("infra", "public"): a_parent(a_listener(), programmed="False")},
        ),
        "False",
        Reason.PARENT_NOT_PROGRAMMED,
        "no address of the pool is left",
    ),
    "the cluster has no Gateway API": (
        routed(capabilities=replace(FULL, http_routes=False)),
        "False",
        Reason.GATEWAY_API_MISSING,
        "Next: kubectl get crd httproutes.gateway.networking.k8s.io",
    ),
    "the route was refused by the API server": (
        replace(routed(), failures=[a_failure("HTTPRoute", 422, "spec.rules: too many")]),
        "False",
        Reason.APPLY_REJECTED,
        "spec.rules: too many",
    ),
    "the live route is not the one that was applied": (
        with_child(routed(an_answer(PUBLIC)), ROUTE, None),
        "Unknown",
        Reason.APPLYING,
        "HTTPRoute photos",
    ),
}


@pytest.mark.parametrize(("snapshot", "status", "reason", "says"), CASES.values(), ids=CASES)
def test_route_ready(snapshot: Snapshot, status: str, reason: Reason, says: str) -> None:
    """Each case: what it says, why, and the object or the command in the message."""
    found = judged(snapshot)
    assert found[:2] == (status, reason)
    assert says in found[2]


def test_it_is_absent_where_no_route_is_asked_for() -> None:
    """Nobody has to learn of a part that they do not use."""
    assert condition_of(judge(a_snapshot(), None, NOW), "RouteReady") == {}


def test_it_is_there_where_a_route_cannot_be_removed() -> None:
    """Clients outside go on coming in, though nobody wants them to."""
    left = a_failure("HTTPRoute", 403, "you may not", name="photos")
    status = judge(replace(a_snapshot(), failures=[left]), None, NOW)
    assert condition_of(status, "RouteReady")["reason"] == Reason.APPLY_FORBIDDEN
    assert condition_of(status, "Ready")["status"] == "True"


def test_a_refused_route_is_loud_but_leaves_the_gateway_ready() -> None:
    """Clients in the cluster are served; those outside are not, and REASON says so."""
    refusal = an_answer(PUBLIC, Accepted=("False", "NotAllowedByListeners", "no"))
    status = judge(routed(refusal), None, NOW)
    assert condition_of(status, "Ready")["status"] == "True"
    assert status["reason"] == Reason.NOT_ALLOWED_BY_LISTENERS


INSIDE = "http://photos.demo.svc"
HTTPS = a_listener("HTTPS")
URLS: dict[str, tuple[Mapping[str, Any], Manifest, str]] = {
    "the host name, by TLS where there is a listener for it": (
        {},
        a_parent(a_listener(), HTTPS),
        "https://photos.example.com",
    ),
    "a port other than the scheme's": (
        {},
        a_parent(a_listener(port=8081)),
        "http://photos.example.com:8081",
    ),
    "with the prefix": (
        {"pathPrefix": "/a/b"},
        a_parent(HTTPS),
        "https://photos.example.com/a/b",
    ),
    "only the listener that is named": (
        {"parentRefs": [PUBLIC | {"sectionName": "http"}]},
        a_parent(a_listener(), HTTPS),
        "http://photos.example.com",
    ),
    "the listener's host name where the route has none": (
        {"hostnames": []},
        a_parent(a_listener(hostname="ml.example.com")),
        "http://ml.example.com",
    ),
    "the listener's host name where the route's is a pattern": (
        {"hostnames": ["*.example.com"]},
        a_parent(a_listener(hostname="ml.example.com")),
        "http://ml.example.com",
    ),
    "the first host name that the listener answers to": (
        {"hostnames": ["photos.other.org", "photos.example.com"]},
        a_parent(a_listener(hostname="*.example.com")),
        "http://photos.example.com",
    ),
    "the Gateway's address where nobody has a host name": (
        {"hostnames": []},
        a_parent(a_listener(), addresses=["192.0.2.7"]),
        "http://192.0.2.7",
    ),
    "an address of the sixth version": (
        {"hostnames": []},
        a_parent(a_listener(), addresses=["2001:db8::7"]),
        "http://[2001:db8::7]",
    ),
    "none that is known: all host names are patterns": (
        {"hostnames": ["*.example.com"]},
        a_parent(a_listener()),
        INSIDE,
    ),
    "none that is known: the Gateway has no address yet": (
        {"hostnames": []},
        a_parent(a_listener()),
        INSIDE,
    ),
    "not through a listener that takes its own namespace only": (
        {},
        a_parent(HTTPS | {"allowedRoutes": {"namespaces": {"from": "Same"}}}, a_listener()),
        "http://photos.example.com",
    ),
    "not through a listener that is no web server": (
        {},
        a_parent(a_listener("TLS"), a_listener()),
        "http://photos.example.com",
    ),
}


@pytest.mark.parametrize(("route", "parent", "url"), URLS.values(), ids=URLS)
def test_url_outside(route: Mapping[str, Any], parent: Manifest, url: str) -> None:
    """As far as Gateway and route tell; the address in the cluster stays where it is."""
    references = route.get("parentRefs", [PUBLIC])
    snapshot = routed(
        *(an_answer(reference) for reference in references),
        parents={ObjectKey("infra", "public"): parent},
        route=route,
    )
    assert judged(snapshot)[0] == "True"
    assert url_of(snapshot) == (url, INSIDE)


def test_a_route_that_is_not_accepted_has_no_address() -> None:
    """Status promises nothing that does not answer."""
    assert url_of(routed()) == (INSIDE, INSIDE)
