"""How clients reach a gateway: its Service, and its route through a Gateway of the cluster.

Part of ``gateway``'s spec. The names of a route's fields are those of Gateway API itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from igw_operator.api.fields import DNS_LABEL_PATTERN, ApiModel, Guard, Labels, matches

_SUBDOMAIN: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
# No segment begins with a dot: "..", which proxies resolve, would lead out of the prefix.
_PATH_PREFIX: Final = "^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$"


class ParentRef(ApiModel):
    """A Gateway (gateway.networking.k8s.io) that takes requests from outside."""

    name: Annotated[
        str,
        Field(max_length=253),
        matches(f"^{_SUBDOMAIN}$", "must be the name of a Gateway, such as public"),
    ]
    """Name of the Gateway."""
    namespace: Annotated[str, Field(max_length=63, pattern=DNS_LABEL_PATTERN)] | None = None
    """Namespace of the Gateway; its listener has to allow routes from here. Absent: the same."""
    section_name: (
        Annotated[
            str,
            Field(max_length=253),
            matches(f"^{_SUBDOMAIN}$", "must be the name of a listener, such as https"),
        ]
        | None
    ) = None
    """Name of one listener of the Gateway. Absent: every listener that allows it."""


def _are_distinct(parents: Sequence[ParentRef]) -> bool:
    """As Gateway API demands: a Gateway that is named twice is named by its listeners."""
    return all(
        sum(_is_same_gateway(one, other) for other in parents) == 1
        or (
            one.section_name is not None
            and sum(
                _is_same_gateway(one, other) and one.section_name == other.section_name
                for other in parents
            )
            == 1
        )
        for one in parents
    )


def _is_same_gateway(one: ParentRef, other: ParentRef) -> bool:
    return (one.name, one.namespace) == (other.name, other.namespace)


_SAME_GATEWAY_CEL: Final = (
    "a.name == b.name && has(a.__namespace__) == has(b.__namespace__) && "
    "(!has(a.__namespace__) || a.__namespace__ == b.__namespace__)"
)


class Route(ApiModel):
    """An HTTPRoute that leads /predict, /v1 and /v2 to the Service, and nothing else."""

    parent_refs: Annotated[
        tuple[ParentRef, ...],
        Field(min_length=1, max_length=8),
        Guard(
            rule=f"self.all(a, self.exists_one(b, {_SAME_GATEWAY_CEL}) || has(a.sectionName) && "
            f"self.exists_one(b, {_SAME_GATEWAY_CEL} && has(b.sectionName) && "
            "a.sectionName == b.sectionName))",
            message="name each Gateway once, or several of its listeners, each by sectionName",
            check=_are_distinct,
        ),
    ]
    """The Gateways that requests come through."""
    hostnames: Annotated[
        tuple[
            Annotated[
                str,
                Field(max_length=253),
                matches(
                    f"^([*][.])?{_SUBDOMAIN}$",
                    "must be a host name in lower case, such as photos.example.com or "
                    "*.example.com",
                ),
            ],
            ...,
        ],
        Field(max_length=16),
    ] = ()
    """Host names that the route answers to. Absent: those of the listeners."""
    path_prefix: (
        Annotated[
            str,
            Field(max_length=253),
            matches(_PATH_PREFIX, "must be a path without a final /, such as /photos"),
        ]
        | None
    ) = None
    """Path that is put before /predict, /v1 and /v2 outside and is cut off on the way in, such as
    /photos, for several gateways under one host name.
    """


class Service(ApiModel):
    """The Service that clients call."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service."""
    annotations: Labels = Field(default={})
    """Annotations of the Service, such as a cloud's load balancer reads."""
    route: Route | None = None
    """A route to the Service from outside the cluster; needs Gateway API. Absent: none."""
