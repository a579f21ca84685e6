"""The spec of an ``InferenceGateway``, typed: what a model owner and an SRE may ask for.

``parse`` makes it from an object of the API server, the command line or a file; ``crd``
makes the CustomResourceDefinition of it. The docstring under a field is its description
in ``kubectl explain``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from igw_operator.api.fields import (
    DNS_LABEL_PATTERN,
    DURATION_PATTERN,
    AnyObject,
    ApiModel,
    CountOrWord,
    DurationText,
    Guard,
    Labels,
    Quantity,
    duration_between,
    parse_duration,
    parse_quantity,
)
from igw_operator.api.model import Model
from igw_operator.api.observability import Observability
from igw_operator.api.protection import Auth, Tls
from igw_operator.api.scaling import Scaling
from igw_operator.api.service import Service
from igw_operator.api.windows import Window

_LABEL_NAME: Final = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


class Spot(StrEnum):
    """How pods relate to interruptible (spot, preemptible) nodes."""

    NEVER = "Never"
    PREFER = "Prefer"
    REQUIRE = "Require"


class RuntimeRef(ApiModel):
    """Names the InferenceRuntime that serves the model."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
    """Name of a cluster-scoped InferenceRuntime."""


class Serving(ApiModel):
    """How the runtime treats requests."""

    timeout: Annotated[DurationText, duration_between("100ms", "1h", "30s")] = "30s"
    """Longest time that a request may take from its first byte to its answer."""
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Requests waiting in one replica before it sheds load with 503."""
    max_batch: Annotated[int | str, CountOrWord(1, 64, "auto")] = 1
    """Most pictures in one forward pass. auto: each replica measures at its start which size pays;
    on CPUs that is often 1.
    """
    drain: Annotated[DurationText, duration_between("0s", "10m", "10s")] = "10s"
    """How long a stopping replica still accepts requests, while load balancers learn that it
    goes.
    """
    max_body_bytes: Quantity = "10Mi"
    """Largest request body."""
    max_pixels: Annotated[int, Field(ge=1024, le=1_000_000_000)] = 50_000_000
    """Largest picture, in pixels; judged by its header, before it is decoded."""
    exact: bool = False
    """Preprocess pictures bit for bit as torchvision does, at the price of decoding large JPEGs in
    full.
    """
    grpc: bool = False
    """Serve the Open Inference Protocol over gRPC too, on port 9000 of the Service."""
    auth: Auth | None = None
    """Who may call. Absent: whoever the network policy lets through."""
    tls: Tls | None = None
    """Set: pods speak TLS only, and the Service has port 443 instead of 80."""


def _fits(resources: ResourceList) -> bool:
    return all(
        parse_quantity(requested) <= parse_quantity(resources.limits[name])
        for name, requested in resources.requests.items()
        if name in resources.limits
    )


class ResourceList(ApiModel):
    """CPU, memory and extended resources of one replica."""

    guards: ClassVar = (
        Guard(
            rule="self.requests.all(name, !(name in self.limits) || "
            "quantity(string(self.requests[name]))"
            ".compareTo(quantity(string(self.limits[name]))) <= 0)",
            message="requests must not be greater than limits",
            check=_fits,
        ),
    )

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        default={"cpu": "2", "memory": "4Gi"}
    )
    """What a replica is guaranteed."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        default={"cpu": "4", "memory": "8Gi"}
    )
    """What a replica may use at most."""


class Toleration(ApiModel):
    """As in a pod's spec."""

    key: Annotated[str, Field(max_length=316)] | None = None
    """Key of the taint. Absent with operator Exists: every taint."""
    operator: Literal["Exists", "Equal"] | None = None
    """How key and value are compared. Absent: Equal."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Absent: every effect."""
    toleration_seconds: int | None = None
    """For NoExecute: how long the pod stays, in seconds."""


class Scheduling(ApiModel):
    """Where replicas run."""

    node_selector: Labels = Field(default={})
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that replicas tolerate."""
    affinity: AnyObject | None = None
    """Affinity, as in a pod's spec."""
    spread: bool = True
    """Spread replicas over zones and nodes where that is possible."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the replicas."""
    spot: Spot = Spot.NEVER
    """Whether replicas may (Prefer) or must (Require) run on interruptible nodes."""


Objective = Annotated[
    float,
    Guard(
        rule="self > 0.0 && self <= 99.999",
        message="must be a percentage above 0 and at most 99.999, such as 99.5: "
        "an objective of 100 leaves no error budget",
        check=lambda percent: 0 < percent <= 99.999,  # noqa: PLR2004 - stands in the message
    ),
]


class Availability(ApiModel):
    """Share of requests answered without a server error."""

    objective: Objective = 99.5
    """Percentage of requests that must succeed, such as 99.5."""


class Latency(ApiModel):
    """Share of successful requests answered within a threshold."""

    threshold: Annotated[DurationText, duration_between("1ms", "60s", "300ms")] = "300ms"
    """A successful answer that takes longer is a bad event. 1ms to 60s."""
    objective: Objective = 99.0
    """Percentage of successful requests that must be at most that slow, such as 99."""

    @property
    def threshold_seconds(self) -> Decimal:
        """The threshold in seconds, exact."""
        return parse_duration(self.threshold)


class Alerting(ApiModel):
    """What the alerts carry."""

    enabled: bool = True
    """Whether alerts are made; records always are."""
    labels: Annotated[
        Labels,
        Guard(
            rule="self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))",
            message="names of alert labels are letters, digits and '_', such as team",
            check=lambda labels: all(_LABEL_NAME.fullmatch(name) for name in labels),
        ),
    ] = Field(default={})
    """Labels added to every alert, such as team: vision, for routing."""
    annotations: Labels = Field(default={})
    """Annotations added to every alert."""
    runbook_url: Annotated[
        Annotated[str, Field(max_length=1024)] | None, Field(alias="runbookURL")
    ] = None
    """Address of the team's runbook; the alert's name is appended as a fragment. Absent: what the
    operator's settings say, if they do.
    """


def _can_page(window: Window, objective: float) -> bool:
    """Whether a full outage burns faster than the highest alert factor of the window."""
    return window.highest_factor * (1 - Decimal(str(objective)) / 100) < 1


def _cel_can_page(field: str) -> str:
    factors = ", ".join(f"'{window}': {float(window.highest_factor)}" for window in Window)
    return f"{{{factors}}}[self.window] * (1.0 - self.{field}.objective / 100.0) < 1.0"


def _lowest_objectives() -> str:
    lowest = (f"{window}: {float(100 - 100 / window.highest_factor):.2f}" for window in Window)
    return ", ".join(lowest)


class Slo(ApiModel):
    """The service level objectives."""

    guards: ClassVar = (
        Guard(
            rule=_cel_can_page("availability"),
            message="availability.objective is so low that a full outage would not page; "
            f"it must be above ({_lowest_objectives()})",
            check=lambda slo: _can_page(slo.window, slo.availability.objective),
        ),
        Guard(
            rule=_cel_can_page("latency"),
            message="latency.objective is so low that its fast burn alert could never fire; "
            f"it must be above ({_lowest_objectives()})",
            check=lambda slo: _can_page(slo.window, slo.latency.objective),
        ),
    )

    window: Window = Window.MONTH
    """Window of the error budgets: the last 7, 28 or 30 days, or the calendar month (UTC)."""
    availability: Availability = Availability()
    """Availability objective."""
    latency: Latency = Latency()
    """Latency objective."""
    alerting: Alerting = Alerting()
    """What the alerts carry."""


class NetworkPolicy(ApiModel):
    """Who may talk to the gateway's pods."""

    enabled: bool = True
    """Whether NetworkPolicies are made."""
    allow_from: Annotated[tuple[AnyObject, ...], Field(max_length=32)] = ()
    """Peers that may call the serving port, as in a NetworkPolicy's from. Absent or empty: every
    pod of the cluster and its load balancers.
    """


class Cost(ApiModel):
    """What a replica costs, for the record of the cost of predictions."""

    per_replica_hour: Annotated[
        float,
        Guard(
            rule="self > 0.0",
            message="must be a price above 0, such as 0.38; leave spec.cost out for none",
            check=lambda price: price > 0,
        ),
    ]
    """Price of one replica for one hour, such as 0.38."""
    currency: Annotated[str, Field(max_length=16)] = ""
    """What the price is in, such as EUR: a label of the record, and nothing is converted."""


def _have_names_of_their_own(spec: GatewaySpec) -> bool:
    names = [(model.name, model.version) for model in (spec.model, *spec.additional_models)]
    return len(set(names)) == len(names)


class GatewaySpec(ApiModel):
    """What the owner of a gateway asks for."""

    guards: ClassVar = (
        Guard(
            rule="!(has(self.replicas) && has(self.scaling))",
            message="set replicas for a fixed number or scaling for an automatic one, not both",
            check=lambda spec: spec.replicas is None or spec.scaling is None,
        ),
        Guard(
            rule="!has(self.additionalModels) || self.additionalModels.all(a, "
            "self.additionalModels.exists_one(b, a.name == b.name && a.version == b.version) && "
            "(a.name != self.model.name || a.version != self.model.version))",
            message="model and additionalModels: each needs a name and version of its own, such "
            "as version 2",
            check=_have_names_of_their_own,
        ),
        Guard(
            # What is no duration has its own message, and would end this rule in an error.
            rule=f"!self.slo.latency.threshold.matches('{DURATION_PATTERN}') || "
            f"!self.serving.timeout.matches('{DURATION_PATTERN}') || "
            "duration(self.slo.latency.threshold) < duration(self.serving.timeout)",
            message="slo.latency.threshold must be less than serving.timeout: no successful "
            "answer takes longer than the timeout, so none could ever be too slow",
            check=lambda spec: (
                spec.slo.latency.threshold_seconds < parse_duration(spec.serving.timeout)
            ),
        ),
    )

    runtime_ref: RuntimeRef | None = None
    """The InferenceRuntime that serves the model. Absent: the one that is annotated as default."""
    model: Model
    """Which model is served. With additional models it is the default: /predict is its, and its
    name without a version.
    """
    additional_models: Annotated[tuple[Model, ...], Field(max_length=15)] = ()
    """Further models, and versions of models, that each replica serves beside it, on the versioned
    paths of the Open Inference Protocol. They share replicas, queue and objectives. Of a name, the
    first version is the one that answers without a version.
    """
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Fixed number of replicas; excludes scaling."""
    scaling: Scaling | None = None
    """Automatic scaling; excludes replicas. Neither set: scaling with its defaults."""
    serving: Serving = Serving()
    """How the runtime treats requests."""
    resources: ResourceList = ResourceList()
    """Resources of one replica."""
    scheduling: Scheduling = Scheduling()
    """Where replicas run."""
    service: Service = Service()
    """The Service that clients call."""
    slo: Slo = Slo()
    """The service level objectives."""
    cost: Cost | None = None
    """What a replica costs. Set: the cost of 1,000 predictions is recorded."""
    observability: Observability = Observability()
    """Metrics, logs, traces."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Who may talk to the gateway's pods."""
