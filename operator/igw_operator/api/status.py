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
    """Image of the model server."""


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
    budget_remaining: str | None = None
    """What is left of the error budget, in percent. Absent: no reading yet."""
    burn_rate: str | None = None
    """Speed of spending; 1 spends exactly the budget in the window. Absent: no reading yet."""


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
    """The least error budget left of any objective, in percent. Absent: no reading yet."""


class RuntimeStatus(ApiModel):
    """What the operator has found out about a runtime."""

    observed_generation: Generation
    """The metadata.generation that this status judges."""
    gateways: Count
    """Gateways that use the runtime."""
    conditions: Conditions
    """Ready always; Stalled only while it is True."""
