"""``spec.scaling`` of an ``InferenceGateway``: bounds, targets, speed, and who scales.

A part of the typed spec in ``gateway``; what is made of it is ``plan``'s.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from igw_operator.api.fields import ApiModel, DurationText, Guard, duration_between


class ScalingEngine(StrEnum):
    """Who sets the number of replicas."""

    AUTO = "Auto"
    HPA = "HPA"
    KEDA = "KEDA"


class ScalingPolicy(ApiModel):
    """One limit on the speed of scaling."""

    percent: Annotated[int, Field(ge=1, le=1000)]
    """Most change in one period, in percent of the replicas at its start."""
    period: Annotated[DurationText, duration_between("1s", "30m", "30s")]
    """Length of the period, 1s to 30m."""


class ScalingBehavior(ApiModel):
    """How fast replicas may come and go."""

    scale_up: ScalingPolicy = ScalingPolicy(percent=100, period="30s")
    """Limit on scaling up."""
    scale_down: ScalingPolicy = ScalingPolicy(percent=50, period="5m")
    """Limit on scaling down; its period is also how long a lower need must last."""


class Scaling(ApiModel):
    """Automatic scaling between two bounds, on whichever target asks for most replicas."""

    guards: ClassVar = (
        Guard(
            rule="self.minReplicas <= self.maxReplicas",
            message="minReplicas must not be greater than maxReplicas",
            check=lambda scaling: scaling.min_replicas <= scaling.max_replicas,
        ),
        Guard(
            rule="self.cpuPercent + self.memoryPercent > 0",
            message="scaling needs cpuPercent or memoryPercent: the other targets depend on an API "
            "that may be absent",
            check=lambda scaling: scaling.cpu_percent + scaling.memory_percent > 0,
        ),
    )

    engine: ScalingEngine = ScalingEngine.AUTO
    """Who scales. HPA: a HorizontalPodAutoscaler. KEDA: a ScaledObject, which needs KEDA in the
    cluster. Auto: KEDA where it is installed, no custom metrics API is, and the operator was told
    a Prometheus to ask; an HPA everywhere else.
    """
    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 3
    """Fewest replicas."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 20
    """Most replicas."""
    cpu_percent: Annotated[int, Field(ge=0, le=1000)] = 70
    """Target CPU use, in percent of the CPU request. 0 switches the target off."""
    memory_percent: Annotated[int, Field(ge=0, le=1000)] = 80
    """Target memory use, in percent of the memory request. 0 switches the target off."""
    requests_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Target requests per second and replica; needs a custom metrics API that serves
    http_requests_per_second, or KEDA. 0 switches the target off.
    """
    queue_depth: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Target of queued requests per replica; needs a custom metrics API that serves
    inference_queue_size, or KEDA. 0 switches the target off.
    """
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast replicas may come and go."""
