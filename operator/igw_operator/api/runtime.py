"""The spec of an ``InferenceRuntime``, typed: the image that serves, and its defaults.

Cluster-scoped, owned by the platform team. A gateway names one by ``runtimeRef``, or gets
the one annotated ``inference.igw.dev/is-default-runtime: "true"``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from igw_operator.api.fields import ApiModel, matches

DEFAULT_COLLECTOR_IMAGE: Final = "docker.io/otel/opentelemetry-collector-contrib:0.155.0"

Image = Annotated[
    str,
    Field(max_length=512),
    matches(
        "^[^ :@]+(:[0-9]+/[^ :@]+)?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        "must be an image reference such as ghcr.io/acme/igw-runtime:0.1.0, or one with @sha256:…",
    ),
]


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
