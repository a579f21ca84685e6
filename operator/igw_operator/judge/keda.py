"""What KEDA makes of a ScaledObject: is it there, does it scale, does it let go?

Called by ``scaling``. KEDA's HPA carries the labels of the ScaledObject, so it is among the
gateway's objects here, though it is not the operator's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from igw_operator.api.objects import Manifest
from igw_operator.api.scaling import Scaling
from igw_operator.judge import prose
from igw_operator.judge.finding import Truth, Verdict, say
from igw_operator.judge.hpa import HPA, Triggers, check_metrics, judge_reach
from igw_operator.judge.pods import parse_conditions
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Scene
from igw_operator.plan.scaling import choose_load_fields

SCALED_OBJECT: Final = "ScaledObject"
_PATIENCE: Final = timedelta(minutes=1)
_PODS: Final = "kubectl get pods -A -l app.kubernetes.io/name=keda-operator"
_PAUSE: Final = "autoscaling.keda.sh/paused"


def check_leaving(scene: Scene, *, is_wanted: bool) -> Verdict | None:
    """Whether KEDA still scales, though it should not any more, or something deleted its part."""
    name, old = scene.child_name(), scene.child(SCALED_OBJECT)
    if old is not None and (not is_wanted or "deletionTimestamp" in old["metadata"]):
        since = _read_time(old["metadata"].get("deletionTimestamp"))
        if since is None or scene.now - since < _PATIENCE:
            return say(Truth.UNKNOWN, Reason.APPLYING, f"ScaledObject {name} is on its way out")
        text = (
            f"ScaledObject {name} was deleted at {since:%H:%M:%S} UTC and still scales, until "
            "KEDA's operator takes its finalizer finalizer.keda.sh away"
        )
        return say(Truth.FALSE, Reason.AUTOSCALER_LEFT_OVER, text, _PODS)
    made = _made_name(name)
    if is_wanted or (HPA, made) not in scene.snapshot.children:
        return None
    text = f"{HPA} {made} is left of ScaledObject {name} and waits for the garbage collector"
    look = f"kubectl get hpa {made} -n {scene.namespace} -o yaml"
    return say(Truth.UNKNOWN, Reason.APPLYING, text, look)


def judge_by_keda(scene: Scene, scaling: Scaling) -> Verdict:
    """Whether KEDA scales by every target that is asked for."""
    name, live = scene.child_name(), scene.child(SCALED_OBJECT)
    look = _describe(scene)
    if live is None:
        text = f"ScaledObject {name} does not exist"
        return say(Truth.FALSE, Reason.AUTOSCALER_MISSING, text, look)
    trouble = _check_paused(scene, live) or _check_ready(scene, live)
    if trouble is not None:
        return trouble
    made = (live.get("status") or {}).get("hpaName") or _made_name(name)
    hpa = scene.snapshot.children.get((HPA, made))
    if hpa is None:
        text = f"KEDA has not made {HPA} {made} yet"
        return say(Truth.UNKNOWN, Reason.STARTING, text, look)
    triggers = live["spec"]["triggers"]
    trouble = check_metrics(scene, hpa, triggers) or _check_targets(scene, scaling, triggers)
    return trouble or judge_reach(scene, hpa)


def _check_ready(scene: Scene, live: Manifest) -> Verdict | None:
    ready = parse_conditions(live).get("Ready")
    if ready is None or ready.status == "Unknown":
        return _judge_unseen(scene, live)
    if ready.status == "True":
        return None
    text = (
        f"KEDA cannot do what ScaledObject {scene.child_name()} says: {prose.tidy(ready.message)}"
    )
    return say(Truth.FALSE, Reason.KEDA_NOT_READY, text, _describe(scene))


def _check_targets(scene: Scene, scaling: Scaling, triggers: Triggers) -> Verdict | None:
    known = {trigger.get("name") for trigger in triggers}
    missing = [
        field for metric, field in choose_load_fields(scaling).items() if metric not in known
    ]
    if not missing:
        return None
    text = (
        f"ScaledObject {scene.child_name()} scales on cpu and memory only: "
        f"{' and '.join(missing)} need a Prometheus for KEDA to ask, and the operator's "
        "IGW_PROMETHEUS_URL names none"
    )
    look = "kubectl set env -n igw-system deployment/igw-operator IGW_PROMETHEUS_URL=URL"
    return say(Truth.FALSE, Reason.CUSTOM_METRICS_UNAVAILABLE, text, look)


def _check_paused(scene: Scene, live: Manifest) -> Verdict | None:
    annotations = live["metadata"].get("annotations") or {}
    pauses = sorted(key for key in annotations if key.startswith(_PAUSE))
    condition = parse_conditions(live).get("Paused")
    if not pauses or condition is None or condition.status != "True":
        return None
    name = scene.child_name()
    text = f"ScaledObject {name} is paused by its annotation {pauses[0]}={annotations[pauses[0]]}"
    end = f"kubectl annotate scaledobject {name} -n {scene.namespace} {pauses[0]}-"
    return say(Truth.FALSE, Reason.SCALING_PAUSED, text, end)


def _judge_unseen(scene: Scene, live: Manifest) -> Verdict:
    """KEDA has said nothing yet; after a minute that is because it does not run."""
    name, created = scene.child_name(), _read_time(live["metadata"].get("creationTimestamp"))
    if created is None or scene.now - created < _PATIENCE:
        text = f"KEDA has not looked at ScaledObject {name} yet"
        return say(Truth.UNKNOWN, Reason.STARTING, text, _PODS)
    text = f"KEDA has not looked at ScaledObject {name} since it was made at {created:%H:%M:%S} UTC"
    return say(Truth.FALSE, Reason.KEDA_NOT_READY, text, _PODS)


def _describe(scene: Scene) -> str:
    return f"kubectl describe scaledobject {scene.child_name()} -n {scene.namespace}"


def _made_name(name: str) -> str:
    return f"keda-hpa-{name}"


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
