"""The spec of an ``InferenceRuntime``, typed: the image that serves, and its defaults.

Cluster-scoped, owned by the platform team. A gateway names one by ``runtimeRef``, or gets
the one annotated ``inference.igw.dev/is-default-runtime: "true"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from igw_operator.api.fields import (
    ApiModel,
    DurationText,
    Guard,
    Labels,
    duration_between,
    matches,
    parse_duration,
)

DEFAULT_COLLECTOR_IMAGE: Final = "docker.io/otel/opentelemetry-collector-contrib:0.155.0"

Image = Annotated[
    str,
    Field(max_length=512),
    matches(
        "^[^ :@]+(:[0-9]+/[^ :@]+)?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        "must be an image reference such as ghcr.io/acme/igw-runtime:0.1.0, or one with @sha256:…",
    ),
]


class LabelExpression(ApiModel):
    """One condition on a label, as in any label selector."""

    guards: ClassVar = (
        Guard(
            rule="self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : "
            "!has(self.values) || size(self.values) == 0",
            message="In and NotIn need values; Exists and DoesNotExist take none",
            check=lambda it: (it.operator in {"In", "NotIn"}) == bool(it.values),
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """Name of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared."""
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()
    """Values, for In and NotIn."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil the condition; NotIn holds where the label is absent."""
        if self.operator == "In":
            return labels.get(self.key) in self.values
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        return (self.key in labels) == (self.operator == "Exists")


class GatewaySelector(ApiModel):
    """Chooses gateways by their labels; all conditions must hold."""

    guards: ClassVar = (
        Guard(
            rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || "
            "(has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            message="a selector that names no label would choose every gateway: name one, or use "
            "percent: 100",
            check=lambda it: bool(it.match_labels or it.match_expressions),
        ),
    )

    match_labels: Labels = Field(default={})
    """Labels that a gateway must have."""
    match_expressions: Annotated[tuple[LabelExpression, ...], Field(max_length=16)] = ()
    """Further conditions on labels."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a gateway with these labels is chosen."""
        wanted = self.match_labels.items()
        return all(labels.get(key) == value for key, value in wanted) and all(
            expression.holds(labels) for expression in self.match_expressions
        )


class Wave(ApiModel):
    """Gateways that may move together: a share of all of them, or those with certain labels."""

    guards: ClassVar = (
        Guard(
            rule="has(self.percent) != has(self.selector)",
            message="a wave has either percent or selector",
            check=lambda wave: (wave.percent is None) != (wave.selector is None),
        ),
    )

    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    """Share of the runtime's gateways that may have moved once this wave is through, rounded up:
    10 percent of 3 gateways is 1. Earlier shares count.
    """
    selector: GatewaySelector | None = None
    """The gateways of this wave by the labels of the InferenceGateway objects."""


def _ascend(rollout: Rollout) -> bool:
    percents = [wave.percent for wave in rollout.waves if wave.percent is not None]
    return percents == sorted(percents)


class Rollout(ApiModel):
    """How a change of the runtime reaches its gateways."""

    guards: ClassVar = (
        Guard(
            rule="!has(self.waves) || "
            "self.waves.filter(w, has(w.percent)).map(w, w.percent).isSorted()",
            message="the percents of waves must ascend: each is the share that has moved by then",
            check=_ascend,
        ),
    )

    waves: Annotated[tuple[Wave, ...], Field(max_length=16)] = (Wave(percent=10), Wave(percent=50))
    """Who moves first, wave by wave; after the last one come all the rest. An empty list: all at
    once.
    """
    soak: Annotated[DurationText, duration_between("0s", "24h", "5m")] = "5m"
    """How long a wave's gateways must stay Ready before the next wave begins. 0s to 24h."""
    paused: bool = False
    """While true no gateway moves, neither on nor back. What has moved stays."""
    operator_changes: Literal["Hold", "Roll"] = "Hold"
    """Pod template changes that only a new version of the operator causes. Hold: they wait for
    the next change of this runtime, and restart no pod before. Roll: they are a rollout of
    their own, in the same waves.
    """

    @property
    def soak_seconds(self) -> Decimal:
        """The soak in seconds."""
        return parse_duration(self.soak)


class RuntimeSpec(ApiModel):
    """The image that serves, and what every gateway on it shares."""

    image: Image
    """Image of the model server."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """As in a container's spec."""
    image_pull_secrets: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=16)
    ] = ()
    """Names of pull secrets in the gateways' namespaces."""
    models: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=256)] = ()
    """Names of the models that the image carries; a gateway that asks for another one without a
    uri is refused at once. Empty: not known, the runtime itself says.
    """
    collector_image: Image = DEFAULT_COLLECTOR_IMAGE
    """Image of the managed OpenTelemetry collectors."""
    rollout: Rollout = Rollout()
    """How a change of image, imagePullPolicy, imagePullSecrets or collectorImage reaches the
    gateways.
    """
