"""Who scales a gateway, and by which targets: nobody, an HPA, or KEDA.

Read by the builders of the autoscalers (`hpa`, `scaled_object`) and by everything that has to
know whether replicas are fixed.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from igw_operator import conventions
from igw_operator.api.fields import parse_duration
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Gateway
from igw_operator.api.scaling import Scaling, ScalingEngine, ScalingPolicy
from igw_operator.plan.inputs import PlanInput


def choose_scaling(spec: GatewaySpec) -> Scaling | None:
    """The scaling that a spec asks for; its defaults where it says nothing; None when fixed."""
    if spec.replicas is not None:
        return None
    return spec.scaling or Scaling()


def choose_engine(inputs: PlanInput) -> ScalingEngine | None:
    """HPA or KEDA; None for a fixed number.

    Without KEDA's API an HPA does what it can, whatever is asked for. Whether there *is* a
    custom metrics API decides, and not what it lists: a metric comes and goes with the pods.
    """
    scaling = choose_scaling(inputs.gateway.spec)
    if scaling is None:
        return None
    capabilities = inputs.capabilities
    if not capabilities.scaled_objects or scaling.engine is ScalingEngine.HPA:
        return ScalingEngine.HPA
    if scaling.engine is ScalingEngine.KEDA:
        return ScalingEngine.KEDA
    if capabilities.custom_metrics or not inputs.defaults.prometheus_url:
        return ScalingEngine.HPA
    return ScalingEngine.KEDA


def choose_shares(spec: GatewaySpec, scaling: Scaling) -> dict[str, int]:
    """Targets in percent of what a pod requests, by resource.

    A share of a request that nobody made cannot be computed, and one metric that cannot be
    computed keeps an autoscaler from ever scaling down. (A limit alone becomes the request.)
    """
    known = {*spec.resources.requests, *spec.resources.limits}
    shares = {"cpu": scaling.cpu_percent, "memory": scaling.memory_percent}
    return {name: percent for name, percent in shares.items() if percent and name in known}


def choose_loads(scaling: Scaling) -> dict[str, int]:
    """Targets for each replica that take a metric of the runtime, by that metric."""
    loads = {
        conventions.METRIC_REQUESTS_PER_SECOND: scaling.requests_per_second,
        conventions.METRIC_QUEUE_SIZE: scaling.queue_depth,
    }
    return {metric: target for metric, target in loads.items() if target}


def choose_load_fields(scaling: Scaling) -> dict[str, str]:
    """Names of those targets' fields in the spec, by metric."""
    fields = {
        conventions.METRIC_REQUESTS_PER_SECOND: "requestsPerSecond",
        conventions.METRIC_QUEUE_SIZE: "queueDepth",
    }
    return {metric: fields[metric] for metric in choose_loads(scaling)}


def build_scale_target(gateway: Gateway) -> dict[str, Any]:
    """Reference to the Deployment whose replicas are set."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": gateway.child_name()}


def build_behavior(scaling: Scaling) -> dict[str, Any]:
    """How fast replicas come and go, as an HPA understands it."""
    down = scaling.behavior.scale_down
    return {
        # More load is answered at once; less has to last for a whole period.
        "scaleUp": _build_rules(scaling.behavior.scale_up, stabilization_seconds=0),
        "scaleDown": _build_rules(down, stabilization_seconds=_whole_seconds(down.period)),
    }


def _build_rules(policy: ScalingPolicy, *, stabilization_seconds: int) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": stabilization_seconds,
        "selectPolicy": "Max",
        "policies": [
            {
                "type": "Percent",
                "value": policy.percent,
                "periodSeconds": _whole_seconds(policy.period),
            }
        ],
    }


def _whole_seconds(duration: str) -> int:
    return ceil(parse_duration(duration))
