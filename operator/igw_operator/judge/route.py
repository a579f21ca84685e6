"""RouteReady, and the address that clients outside the cluster use.

The controllers of the Gateways decide: each writes into the HTTPRoute's status whether its
Gateway accepts the route. Their own word becomes the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from igw_operator.api.objects import Gateway, Manifest, ObjectKey
from igw_operator.api.service import ParentRef, Route
from igw_operator.judge import prose
from igw_operator.judge.children import check_children
from igw_operator.judge.finding import Finding, Truth, Verdict
from igw_operator.judge.pods import parse_conditions
from igw_operator.judge.reasons import WAITING, Reason
from igw_operator.judge.scene import Concern, Scene

_CRD: Final = "httproutes.gateway.networking.k8s.io"
_GROUP: Final = "gateway.networking.k8s.io"
_NEEDED: Final = ("Accepted", "ResolvedRefs")
_PENDING: Final = "Pending"
_WORDS: Final = frozenset(
    {
        Reason.NOT_ALLOWED_BY_LISTENERS,
        Reason.NO_MATCHING_LISTENER_HOSTNAME,
        Reason.NO_MATCHING_PARENT,
        Reason.UNSUPPORTED_VALUE,
        Reason.INCOMPATIBLE_FILTERS,
        Reason.REF_NOT_PERMITTED,
        Reason.INVALID_KIND,
        Reason.BACKEND_NOT_FOUND,
        Reason.UNSUPPORTED_PROTOCOL,
    }
)
_DEFAULT_PORTS: Final = {"HTTP": 80, "HTTPS": 443}


def judge_route(scene: Scene, gateway: Gateway) -> Verdict | None:
    """Whether every Gateway that is named leads requests here; None: there is no route to judge."""
    route = gateway.spec.service.route
    blocked = check_children(scene, Concern.ROUTING)
    if route is None:
        # Clients outside go on coming in by a route that nobody wants and that stays.
        return None if blocked is None else _blocked(blocked, scene)
    if not scene.snapshot.capabilities.http_routes:
        text = f"No route from outside: the cluster does not serve {_CRD}"
        return _verdict(Truth.FALSE, Reason.GATEWAY_API_MISSING, text, f"kubectl get crd {_CRD}")
    live = scene.child("HTTPRoute")
    if blocked is not None or live is None:
        return _blocked(blocked, scene)
    verdicts = [_judge_parent(scene, live, parent) for parent in route.parent_refs]
    for truth in (Truth.FALSE, Truth.UNKNOWN):
        worst = next((it for it in verdicts if it.truth is truth), None)
        if worst is not None:
            return worst
    return verdicts[0]


def find_url(scene: Scene, verdict: Verdict | None) -> str | None:
    """Where clients outside reach the gateway, as far as its Gateways tell; None: nowhere."""
    gateway = scene.snapshot.gateway
    route = gateway.spec.service.route if gateway is not None else None
    if route is None or verdict is None or verdict.truth is not Truth.TRUE:
        return None
    return next(_urls(scene, route), None)


def _blocked(finding: Finding | None, scene: Scene) -> Verdict:
    if finding is None:
        text = f"HTTPRoute {scene.child_name()} does not exist yet"
        return _verdict(Truth.UNKNOWN, Reason.APPLYING, text)
    truth = Truth.UNKNOWN if finding.reason in WAITING else Truth.FALSE
    return Verdict(truth=truth, finding=finding)


def _judge_parent(scene: Scene, live: Manifest, parent: ParentRef) -> Verdict:
    key = _key(scene, parent)
    listener = f", listener {parent.section_name}," if parent.section_name else ""
    subject = f"Gateway {key}{listener}"
    manifest = scene.snapshot.parents.get(key)
    if manifest is None:
        text = f"Gateway {key} does not exist, or the operator may not list Gateways"
        return _verdict(Truth.FALSE, Reason.PARENT_NOT_FOUND, text, "kubectl get gateway -A")
    programmed = parse_conditions(manifest).get("Programmed")
    look = f"kubectl describe gateway {key.name} -n {key.namespace}"
    if programmed is not None and programmed.status == "False":
        text = f"Gateway {key} does not work: {prose.tidy(programmed.message)}"
        return _verdict(Truth.FALSE, Reason.PARENT_NOT_PROGRAMMED, text, look)
    answers = [it for it in _parents(live) if _is_about(it.get("parentRef") or {}, parent, scene)]
    for answer in answers:
        refusal = _judge_answer(scene, live, subject, answer)
        if refusal is not None:
            return refusal
    if not answers:
        text = f"No controller has said yet whether {subject} accepts the route"
        return _verdict(Truth.UNKNOWN, Reason.ROUTE_PENDING, text, look)
    text = f"{subject} accepts HTTPRoute {scene.child_name()}"
    return _verdict(Truth.TRUE, Reason.ROUTE_ACCEPTED, text)


def _judge_answer(
    scene: Scene, live: Manifest, subject: str, answer: Mapping[str, Any]
) -> Verdict | None:
    """What a controller has against the route, or has not said of it as it is now."""
    name = scene.child_name()
    look = f"kubectl describe httproute {name} -n {scene.namespace}"
    conditions = {it["type"]: it for it in answer.get("conditions") or ()}
    for kind in _NEEDED:
        condition = conditions.get(kind, {})
        is_old = condition.get("observedGeneration") != live["metadata"].get("generation")
        status, word = condition.get("status", "Unknown"), condition.get("reason", "")
        if is_old or status == "Unknown" or (status == "False" and word == _PENDING):
            text = f"{subject} has not judged HTTPRoute {name} as it is now"
            return _verdict(Truth.UNKNOWN, Reason.ROUTE_PENDING, text, look)
        if status == "False":
            return _refused(subject, name, condition, look)
    partial = conditions.get("PartiallyInvalid", {})
    return _refused(subject, name, partial, look) if partial.get("status") == "True" else None


def _refused(subject: str, name: str, condition: Mapping[str, Any], look: str) -> Verdict:
    word = condition.get("reason", "")
    reason = Reason(word) if word in _WORDS else Reason.ROUTE_NOT_ACCEPTED
    said = prose.tidy(f"{word}: {condition.get('message', '')}")
    return _verdict(Truth.FALSE, reason, f"{subject} refuses HTTPRoute {name}: {said}", look)


def _verdict(truth: Truth, reason: Reason, text: str, command: str = "") -> Verdict:
    return Verdict(truth=truth, finding=Finding(reason=reason, text=text, command=command))


def _key(scene: Scene, parent: ParentRef) -> ObjectKey:
    return ObjectKey(parent.namespace or scene.namespace, parent.name)


def _parents(live: Manifest) -> Sequence[Mapping[str, Any]]:
    parents: Sequence[Mapping[str, Any]] = (live.get("status") or {}).get("parents") or ()
    return parents


def _is_about(reference: Mapping[str, Any], parent: ParentRef, scene: Scene) -> bool:
    """Whether an answer is about a parent; what it leaves out has Gateway API's default."""
    named = (
        reference.get("group", _GROUP),
        reference.get("kind", "Gateway"),
        reference.get("namespace") or scene.namespace,
        reference.get("name"),
        reference.get("sectionName"),
    )
    key = _key(scene, parent)
    return named == (_GROUP, "Gateway", key.namespace, key.name, parent.section_name)


def _urls(scene: Scene, route: Route) -> Iterator[str]:
    for parent in route.parent_refs:
        key = _key(scene, parent)
        manifest = scene.snapshot.parents.get(key)
        if manifest is None:
            continue
        for listener in _listeners(manifest, parent, is_same=key.namespace == scene.namespace):
            host = _choose_host(route.hostnames, listener.get("hostname"), manifest)
            if host is not None:
                yield _render(listener, host) + (route.path_prefix or "")


def _listeners(manifest: Manifest, parent: ParentRef, *, is_same: bool) -> list[Mapping[str, Any]]:
    """The listeners that may carry the route, those with TLS first."""
    found = [
        listener
        for listener in manifest["spec"].get("listeners") or ()
        if listener["protocol"] in _DEFAULT_PORTS
        and parent.section_name in {None, listener["name"]}
        and (is_same or _is_open(listener))
    ]
    return sorted(found, key=lambda it: it["protocol"] != "HTTPS")


def _is_open(listener: Mapping[str, Any]) -> bool:
    """Whether it takes routes of other namespaces; which ones, its controller has judged."""
    namespaces = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    return namespaces.get("from", "Same") not in {"Same", "None"}


def _choose_host(hostnames: Sequence[str], listener: str | None, manifest: Manifest) -> str | None:
    """A name that both route and listener answer to, or the Gateway's address."""
    if not hostnames and listener is None:
        addresses = (manifest.get("status") or {}).get("addresses") or ()
        address = next((it["value"] for it in addresses), None)
        return f"[{address}]" if address is not None and ":" in address else address
    wanted = [*hostnames, *([listener] if listener else [])]
    return next(
        (
            name
            for name in wanted
            if not name.startswith("*")
            and _covers(listener, name)
            and (not hostnames or any(_covers(it, name) for it in hostnames))
        ),
        None,
    )


def _covers(pattern: str | None, name: str) -> bool:
    if pattern is None or pattern == name:
        return True
    return pattern.startswith("*.") and name.endswith(pattern[1:])


def _render(listener: Mapping[str, Any], host: str) -> str:
    protocol, port = listener["protocol"], listener["port"]
    suffix = "" if port == _DEFAULT_PORTS[protocol] else f":{port}"
    return f"{protocol.lower()}://{host}{suffix}"
