"""What an OpenTelemetryCollector has come to, as far as it shows.

Its own status counts replicas, but not of which generation. The Deployment that the
OpenTelemetry operator makes of it tells more, and is seen where our label was handed on to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from igw_operator.api.objects import Manifest
from igw_operator.judge.finding import Finding, Truth, Verdict
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Scene
from igw_operator.plan.otel_collector import KIND


def judge_otel_collector(scene: Scene) -> Verdict | None:
    """The verdict, or None where the Deployment is there to be judged like one of our own."""
    live = scene.child(KIND) or {}
    name = scene.child_name()
    deployment = scene.child("Deployment", "collector")
    if deployment is not None and _is_made_of(deployment, live):
        if _image(deployment) == live["spec"].get("image"):
            return None
        text = f"The OpenTelemetry operator has not yet given collector {name} its new image"
        return _starting(text, f"kubectl describe otelcol {name} -n {scene.namespace}")
    scale = (live.get("status") or {}).get("scale") or {}
    ready, _, replicas = str(scale.get("statusReplicas", "")).partition("/")
    if ready == replicas and ready not in {"", "0"}:
        text = f"{KIND} {name} says that {ready} of {replicas} replicas are ready"
        finding = Finding(reason=Reason.COLLECTOR_AVAILABLE, text=text)
        return Verdict(truth=Truth.TRUE, finding=finding)
    if scale:
        text = f"{KIND} {name} says that {ready or 0} of {replicas or 0} replicas are ready"
        return _starting(text, f"kubectl describe otelcol {name} -n {scene.namespace}")
    text = f"The OpenTelemetry operator has made nothing of {KIND} {name} yet"
    selector = "app.kubernetes.io/name=opentelemetry-operator"
    return _starting(text, f"kubectl get deployment -A -l {selector}")


def _starting(text: str, command: str) -> Verdict:
    finding = Finding(reason=Reason.STARTING, text=text, command=command)
    return Verdict(truth=Truth.UNKNOWN, finding=finding)


def _is_made_of(deployment: Manifest, collector: Mapping[str, Any]) -> bool:
    uid = (collector.get("metadata") or {}).get("uid")
    owners = deployment["metadata"].get("ownerReferences") or ()
    return uid is not None and any(owner.get("uid") == uid for owner in owners)


def _image(deployment: Manifest) -> str | None:
    image: str | None = deployment["spec"]["template"]["spec"]["containers"][0].get("image")
    return image
