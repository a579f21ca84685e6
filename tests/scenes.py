"""Worlds for the judges: a gateway with its children as a real cluster prints them.

Children come from the real builders and are "applied" by stamping them and adding what an
API server adds. A scene is a healthy world with one thing changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from factories import a_runtime, live_gateway_manifest
from igw_operator.api.objects import Manifest, parse_gateway
from igw_operator.errors import ApiError
from igw_operator.judge.snapshot import ApplyFailure, Snapshot
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.inputs import Capabilities, Defaults, PlanInput
from plan_kit.children import EVERY_API

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LONG_AGO = "2026-03-04T11:00:00Z"
JUST_NOW = "2026-03-04T11:59:50Z"
FULL = EVERY_API
HASH = "6d4cf56db6"
OLD_HASH = "77b8c6d9f5"
DEPLOYMENT = ("Deployment", "photos")
COLLECTOR = ("Deployment", "photos-collector")
AUTOSCALER = ("HorizontalPodAutoscaler", "photos")
SCALED_OBJECT = ("ScaledObject", "photos")
KEDAS_AUTOSCALER = ("HorizontalPodAutoscaler", "keda-hpa-photos")
KEDA = Capabilities(service_monitors=True, prometheus_rules=True, scaled_objects=True)
PROMETHEUS = Defaults(prometheus_url="http://prometheus.monitoring.svc:9090")


def deployment_status(
    wanted: int = 3, /, *, conditions: Sequence[Mapping[str, Any]] = (), **changes: Any
) -> dict[str, Any]:
    """Status of a Deployment that is complete, but for the changes."""
    counts = dict.fromkeys(
        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted
    )
    status = {"observedGeneration": 1, **{key: n for key, n in counts.items() if n}}
    return {**status, "conditions": [*(conditions or [progressing()])]} | changes


def condition(
    kind: str, status: str, reason: str = "", message: str = "", since: str = LONG_AGO
) -> dict[str, Any]:
    """A condition as the built-in controllers write it."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


def progressing(reason: str = "NewReplicaSetAvailable", status: str = "True") -> dict[str, Any]:
    """The Deployment's own Progressing condition."""
    return condition("Progressing", status, reason)


def autoscaler_conditions(**changed: tuple[str, str, str]) -> list[dict[str, Any]]:
    """The three conditions of a healthy HorizontalPodAutoscaler, but for those given."""
    usual = {
        "AbleToScale": ("True", "ReadyForNewScale", "recommended size matches current size"),
        "ScalingActive": ("True", "ValidMetricFound", "the HPA was able to compute the count"),
        "ScalingLimited": ("False", "DesiredWithinRange", "the count is within the range"),
    }
    return [condition(kind, *words) for kind, words in (usual | changed).items()]


def keda_conditions(**changed: tuple[str, str, str]) -> list[dict[str, Any]]:
    """The conditions of a ScaledObject that KEDA is content with, but for those given."""
    usual = {
        "Ready": ("True", "ScaledObjectReady", "ScaledObject is defined correctly"),
        "Active": ("False", "ScalerNotActive", "Scaling is not performed"),
        "Paused": ("Unknown", "", ""),
    }
    return [condition(kind, *words) for kind, words in (usual | changed).items()]


def a_snapshot(
    *,
    generation: int = 1,
    capabilities: Capabilities = FULL,
    deployment: Mapping[str, Any] | None = None,
    collector: Mapping[str, Any] | None = None,
    autoscaler: Sequence[Mapping[str, Any]] | None = None,
    metrics: Sequence[Mapping[str, Any]] | None = None,
    scaled_object: Sequence[Mapping[str, Any]] | None = None,
    defaults: Defaults = PROMETHEUS,
    pods: Sequence[Manifest] = (),
    replicas: int = 3,
    name: str = "photos",
    spec: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Snapshot:
    """A gateway whose children are all applied; by default everything is as asked for.

    ``deployment`` and ``collector`` replace those children's statuses, ``autoscaler`` and
    ``scaled_object`` their conditions, ``metrics`` is what an HPA says of its metrics,
    ``replicas`` is what the live Deployment has, ``spec`` and further arguments are fields of
    the gateway's spec.
    """
    manifest = live_gateway_manifest(name, **(fields | dict(spec or {})))
    manifest["metadata"]["generation"] = generation
    gateway = parse_gateway(manifest)
    desired = _stamped_children(json.dumps(manifest), capabilities, defaults.prometheus_url)
    children = {(it["kind"], it["metadata"]["name"]): as_live(it) for it in desired}
    server = children["Deployment", gateway.child_name()]
    server["spec"]["replicas"] = replicas
    server["status"] = deployment or deployment_status(replicas)
    for key, child in children.items():
        if key == ("Deployment", gateway.child_name("collector")):
            child["status"] = collector or deployment_status(1)
        if child["kind"] == "ScaledObject":
            conditions = keda_conditions() if scaled_object is None else list(scaled_object)
            child["status"] = {"conditions": conditions, "hpaName": KEDAS_AUTOSCALER[1]}
    if SCALED_OBJECT in children:
        children[KEDAS_AUTOSCALER] = made_by_keda(children[SCALED_OBJECT])
    for (kind, _), child in children.items():
        if kind == "HorizontalPodAutoscaler":
            conditions = autoscaler_conditions() if autoscaler is None else list(autoscaler)
            child["status"] = {"conditions": conditions, "currentMetrics": metrics}
    return Snapshot(
        manifest=manifest,
        gateway=gateway,
        runtime=a_runtime(),
        desired=desired,
        children=children,
        replica_sets=[a_replica_set(server)],
        pods=pods,
        capabilities=capabilities,
    )


def made_by_keda(scaled_object: Manifest) -> Manifest:
    """The HPA that KEDA makes of a ScaledObject, with its labels."""
    triggers = scaled_object["spec"]["triggers"]
    metrics = [
        {"type": "External", "external": {"metric": {"name": f"s{number}-prometheus"}}}
        if trigger["type"] == "prometheus"
        else {"type": "Resource", "resource": {"name": trigger["type"]}}
        for number, trigger in enumerate(triggers)
    ]
    metadata = scaled_object["metadata"]
    owner = {"kind": "ScaledObject", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": KEDAS_AUTOSCALER[1],
            "namespace": "demo",
            "labels": metadata["labels"],
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": {"scaleTargetRef": scaled_object["spec"]["scaleTargetRef"], "metrics": metrics},
    }


@cache
def _stamped_children(
    manifest: str, capabilities: Capabilities, prometheus_url: str
) -> tuple[Manifest, ...]:
    """What is applied; made once per spec, because random worlds share few specs."""
    gateway = parse_gateway(json.loads(manifest))
    inputs = PlanInput(
        gateway=gateway,
        runtime=a_runtime(),
        capabilities=capabilities,
        defaults=Defaults(prometheus_url=prometheus_url),
    )
    return tuple(stamp(child, gateway) for child in build_children(inputs))


def fixed(replicas: int, **more: Any) -> Snapshot:
    """A gateway with a fixed number of replicas."""
    return a_snapshot(replicas=replicas, spec={"replicas": replicas}, **more)


def as_live(applied: Manifest) -> Manifest:
    """The object as the API server returns it after an apply."""
    live = deepcopy(applied)
    live["metadata"] |= {"uid": f"uid-{live['kind']}-{live['metadata']['name']}", "generation": 1}
    return live


def a_replica_set(
    deployment: Manifest, template_hash: str = HASH, *, conditions: Sequence[Any] = ()
) -> Manifest:
    """The ReplicaSet that the Deployment's controller makes of the current template."""
    template = deepcopy(deployment["spec"]["template"])
    template["metadata"] |= {"creationTimestamp": None}
    template["metadata"]["labels"] |= {"pod-template-hash": template_hash}
    name = deployment["metadata"]["name"]
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name}-{template_hash}",
            "namespace": "demo",
            "labels": {"pod-template-hash": template_hash},
            "ownerReferences": [{"kind": "Deployment", "uid": deployment["metadata"]["uid"]}],
        },
        "spec": {"template": template},
        "status": {"conditions": list(conditions)},
    }


def a_pod(
    suffix: str = "aaaaa",
    /,
    *,
    container: Mapping[str, Any] | None = None,
    init: Mapping[str, Any] | None = None,
    conditions: Sequence[Mapping[str, Any]] = (),
    template_hash: str = HASH,
    created: str = LONG_AGO,
    owner: str = "photos",
    **status: Any,
) -> Manifest:
    """A pod of the server; ``container`` is its container's status, ``status`` the pod's."""
    statuses: dict[str, Any] = {"phase": "Pending", "conditions": list(conditions)}
    if container is not None:
        statuses["containerStatuses"] = [{"name": "runtime", **container}]
    if init is not None:
        statuses["initContainerStatuses"] = [{"name": "fetch", **init}]
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{owner}-{template_hash}-{suffix}",
            "namespace": "demo",
            "creationTimestamp": created,
            "labels": {"pod-template-hash": template_hash},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {
                    "name": "runtime",
                    "image": "igw.dev/runtime:0.1.0",
                    "resources": {"limits": {"memory": "8Gi"}},
                }
            ],
        },
        "status": statuses | status,
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    """A container that waits."""
    return {"ready": False, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def running(*, ready: bool = True, since: str = LONG_AGO, **more: Any) -> dict[str, Any]:
    """A container that runs."""
    return {"ready": ready, "started": True, "state": {"running": {"startedAt": since}}, **more}


def end(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """How a container ended: what stands under ``terminated``."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def crashed(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """A container that crashed more than once, while the kubelet waits to start it again."""
    text = 'back-off 40s restarting failed container=runtime pod="photos-x_demo(7f3a)"'
    return waiting("CrashLoopBackOff", text, lastState=end(code, message, reason))


def an_event(reason: str, message: str, pod: Manifest | None = None) -> Manifest:
    """A core/v1 Warning event about a pod."""
    name = (pod or a_pod())["metadata"]["name"]
    return {
        "reason": reason,
        "message": message,
        "type": "Warning",
        "involvedObject": {"kind": "Pod", "name": name},
    }


def a_failure(
    kind: str, status: int, message: str, *, name: str = "photos", foreign: bool = False
) -> ApplyFailure:
    """A child that could not be written."""
    error = ApiError(message, status=status)
    return ApplyFailure(kind=kind, name=name, error=error, foreign=foreign)


def with_child(snapshot: Snapshot, key: tuple[str, str], child: Manifest | None) -> Snapshot:
    """The snapshot with one live child replaced, or gone."""
    children = {it: live for it, live in snapshot.children.items() if it != key}
    if child is not None:
        children[key] = child
    return replace(snapshot, children=children)


def unready(**changes: Any) -> dict[str, Any]:
    """Status of a Deployment of three replicas that has none ready."""
    return deployment_status(3, **({"readyReplicas": 0, "availableReplicas": 0} | changes))


def ready_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """The Ready condition."""
    return condition_of(status, "Ready")


def condition_of(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The condition of that type; empty where there is none."""
    found: dict[str, Any] = next((it for it in status["conditions"] if it["type"] == kind), {})
    return found
