"""ScalingReady: does the number of replicas follow what is asked for?

Whoever scales, in the end it is an HPA: the operator's own, or the one that KEDA makes of a
ScaledObject.
"""

from __future__ import annotations

from igw_operator.api.objects import Gateway
from igw_operator.api.scaling import Scaling, ScalingEngine
from igw_operator.errors import RivalAutoscalerError
from igw_operator.judge import prose
from igw_operator.judge.children import check_children
from igw_operator.judge.finding import Truth, Verdict, say, say_blocked
from igw_operator.judge.hpa import HPA, check_metrics, describe, judge_reach
from igw_operator.judge.keda import SCALED_OBJECT, check_leaving, judge_by_keda
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.plan.scaling import choose_load_fields, choose_scaling


def judge_scaling(scene: Scene, gateway: Gateway) -> Verdict:
    """Whether the number of replicas follows what is asked for."""
    by_keda = any(it["kind"] == SCALED_OBJECT for it in scene.snapshot.desired)
    leaving = check_leaving(scene, is_wanted=by_keda)
    if leaving is not None:
        return leaving
    blocked = check_children(scene, Concern.SCALING)
    if blocked is not None:
        return say_blocked(blocked)
    scaling = choose_scaling(gateway.spec)
    if scaling is None:
        return _judge_fixed(scene, gateway.spec.replicas or 0)
    return judge_by_keda(scene, scaling) if by_keda else _judge_by_hpa(scene, scaling)


def _judge_fixed(scene: Scene, replicas: int) -> Verdict:
    name = scene.child_name()
    if scene.child(HPA) is not None:
        text = f"{HPA} {name} is still there, though replicas is fixed"
        return say(Truth.FALSE, Reason.AUTOSCALER_LEFT_OVER, text, describe(scene, name))
    rival = _find_rivalry(scene)
    if rival is not None:
        look = f"kubectl get hpa -n {scene.namespace}"
        return say(Truth.FALSE, Reason.AUTOSCALER_LEFT_OVER, str(rival), look)
    text = f"spec.replicas fixes {prose.counted(replicas, 'replica')}"
    return say(Truth.TRUE, Reason.FIXED_REPLICAS, text)


def _find_rivalry(scene: Scene) -> RivalAutoscalerError | None:
    errors = (failure.error for failure in scene.failures_of(Concern.SERVING))
    return next((it for it in errors if isinstance(it, RivalAutoscalerError)), None)


def _judge_by_hpa(scene: Scene, scaling: Scaling) -> Verdict:
    live, name = scene.child(HPA), scene.child_name()
    if live is None:
        text = f"{HPA} {name} does not exist"
        return say(Truth.FALSE, Reason.AUTOSCALER_MISSING, text, describe(scene, name))
    if (trouble := check_metrics(scene, live)) is not None:
        return trouble
    if scaling.engine is ScalingEngine.KEDA:
        text = (
            "spec.scaling.engine asks for KEDA, and the cluster does not serve "
            f"scaledobjects.keda.sh; {HPA} {name} scales until it does"
        )
        look = "kubectl get crd scaledobjects.keda.sh"
        return say(Truth.FALSE, Reason.KEDA_UNAVAILABLE, text, look)
    return _check_targets(scene, scaling) or judge_reach(scene, live)


def _check_targets(scene: Scene, scaling: Scaling) -> Verdict | None:
    """Whether the HPA could be given every target that is asked for."""
    capabilities, subject = scene.snapshot.capabilities, f"{HPA} {scene.child_name()}"
    missing = {
        metric: field
        for metric, field in choose_load_fields(scaling).items()
        if metric not in capabilities.pods_metrics
    }
    if not missing:
        return None
    fields = " and ".join(missing.values())
    if not capabilities.custom_metrics:
        text = (
            f"{subject} scales on cpu and memory only: {fields} "
            "need custom.metrics.k8s.io, which the cluster does not serve"
        )
        look = "kubectl get apiservice v1beta1.custom.metrics.k8s.io"
        return say(Truth.FALSE, Reason.CUSTOM_METRICS_UNAVAILABLE, text, look)
    text = (
        f"{subject} scales without {fields}: custom.metrics.k8s.io does not list "
        f"{' and '.join(f'pods/{metric}' for metric in missing)}"
    )
    look = "kubectl get --raw /apis/custom.metrics.k8s.io/v1beta1"
    return say(Truth.FALSE, Reason.CUSTOM_METRICS_MISSING, text, look)
