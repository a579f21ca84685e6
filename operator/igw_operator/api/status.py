"""The status of both kinds, typed: what the operator has found out, in the CRD's own words.

``judge`` builds these and writes them out with `as_status`; ``crd`` makes the schema of
them. Nothing here decides anything. A previous status is never parsed with these models:
an older operator may have written it, and its words must not stop a newer one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from igw_operator.api.fields import ApiModel

Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]
Generation = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


def as_status(status: ApiModel) -> dict[str, Any]:
    """The status as the API server stores it: camelCase, without what is not known."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


class Condition(ApiModel):
    """As metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """What the condition is about, such as Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds. Unknown: there is no evidence either way."""
    observed_generation: Generation
    """The metadata.generation that was judged."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When status last changed to another value."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Why, as one stable CamelCase word."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, for people: the object at fault, and the next command to type."""


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        }
    ),
]


class ServedModel(ApiModel):
    """The model that was judged."""

    name: str
    """Name of the model."""
    version: str
    """Version label of the model."""
    uri: str | None = None
    """Where its package lies. Absent: in the image."""


class ServedRuntime(ApiModel):
    """The runtime that was judged."""

    name: str
    """Name of the InferenceRuntime."""
    image: str
    """Image of the model server, as the gateway's pods are asked to run it."""
    revision: str | None = None
    """Which revision of the runtime the pods are asked to run. Absent: there is no Deployment."""
    ready_before: bool | None = None
    """Whether the gateway was Ready just before it took the revision: only then can the revision
    be to blame where it is not any more.
    """
    served: bool | None = None
    """Whether the gateway has been Ready on the revision."""


class Address(ApiModel):
    """A place to call."""

    url: str
    """Base URL."""


class SloStatus(ApiModel):
    """One objective and what is left of its error budget."""

    name: Literal["availability", "latency"]
    """Which objective."""
    objective: str
    """Percentage of requests that must be good, such as 99.5%."""
    threshold: str | None = None
    """For latency: an answer that takes longer is bad."""
    window: str
    """Rolling window of the error budget."""
    sli: str | None = None
    """Percentage of requests that were good, within the window. Absent: no reading."""
    budget_remaining: str | None = None
    """What is left of the error budget, in percent, negative where it is overspent; in steps of
    0.1. Absent: no reading.
    """
    burn_rate: str | None = None
    """Speed of spending in the last hour; 1 spends exactly the budget in the window. Follows in
    steps of a fifth; below 0.1 it is 0. Absent: no traffic.
    """
    window_coverage: str | None = None
    """How much of the window has been recorded, in percent. Absent: no reading."""
    as_of: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When, by Prometheus' clock, the numbers last went a step. Absent: no reading."""


class AlertDrillStatus(ApiModel):
    """The alert drill that the gateway's annotation asks for, and when it was seen."""

    requested_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it was to begin: the annotation's time. It lasts 15 minutes."""
    firing_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """Since when Prometheus fired it, by its own clock. Absent: it has not been seen there."""
    delivered_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When Alertmanager had received it, by its own clock. Absent: it has not been seen there, or
    Alertmanager kept it back.
    """


class GatewayStatus(ApiModel):
    """What the operator has found out about a gateway."""

    observed_generation: Generation
    """The metadata.generation that this status judges."""
    conditions: Conditions
    """One entry per type; Reconciling and Stalled are there only while they are True."""
    reason: Annotated[str, Field(max_length=1024)]
    """The worst of all reasons: that of Ready, or else of a condition that is not as asked."""
    message: Annotated[str, Field(max_length=32768)] | None = None
    """What that reason is about, and the next command to type. Absent while all is well."""
    replicas: Count
    """Replicas that exist, of any revision."""
    ready_replicas: Count
    """Replicas that serve, of any revision."""
    updated_replicas: Count
    """Replicas of the current revision."""
    readiness: str
    """Ready replicas of those asked for, such as 2/3."""
    selector: str | None = None
    """Label selector of the replicas, for the scale subresource."""
    url: str | None = None
    """Where clients reach the gateway: from outside once RouteReady is True, else in the cluster.
    Absent until its Service exists.
    """
    address: Address | None = None
    """Where clients in the cluster reach the gateway, whatever its route does."""
    model: ServedModel | None = None
    """The model that was judged."""
    runtime: ServedRuntime | None = None
    """The runtime that was judged."""
    slo: Annotated[
        tuple[SloStatus, ...],
        Field(
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            }
        ),
    ] = ()
    """The objectives and their error budgets."""
    budget: str | None = None
    """The least error budget left of any objective, in percent. Absent: no reading."""
    alert_drill: AlertDrillStatus | None = None
    """The alert drill. Absent: none is asked for, or not in a way that can be done."""


class RevisionStatus(ApiModel):
    """What of a runtime gets into pod templates."""

    id: str
    """Short digest of all that follows, but for models."""
    image: str
    """Image of the model server."""
    image_pull_policy: str
    """As in a container's spec."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull secrets."""
    collector_image: str
    """Image of the managed collectors."""
    template: str = ""
    """Digest of the operator's own part of the pod templates. Empty: not known."""
    models: tuple[str, ...] = ()
    """Names of the models that the image carries."""


class RolloutStatus(ApiModel):
    """How far a revision has come. Where target and proven are the same, no rollout is on."""

    target: RevisionStatus
    """The revision that gateways move to."""
    proven: RevisionStatus | None = None
    """The last revision that every wave has taken and kept. Gateways that are made during a
    rollout begin with it unless they are admitted; to put its fields back into the spec is to
    roll back.
    """
    wave: Count
    """The wave that is on, counted from 1; 0: none has begun."""
    waves: Count
    """Number of waves, with the one of all the rest."""
    cutoff: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Gateways whose rank, the first 48 bits of the SHA-256 of their uid, is below it are
    admitted.
    """
    started_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the rollout began."""
    wave_started_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the wave began."""
    soaking_since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """Since when the wave's gateways have been Ready without a break. Absent: they are not."""


class RuntimeStatus(ApiModel):
    """What the operator has found out about a runtime."""

    observed_generation: Generation
    """The metadata.generation that this status judges."""
    gateways: Count
    """Gateways that use the runtime."""
    updated: Count
    """Gateways whose pods are asked to run the target revision."""
    rollout: RolloutStatus | None = None
    """How far the runtime's revision has come. Absent: the spec was never valid."""
    wave: str | None = None
    """The wave that is on, of how many, as 2/3. Absent: no rollout is on."""
    message: Annotated[str, Field(max_length=32768)] | None = None
    """What the rollout, or whoever reads this, waits for. Absent while there is nothing to say."""
    conditions: Conditions
    """Ready and RolloutHeld always; Reconciling and Stalled only while they are True."""
