"""The init containers that fetch models, where models have to be fetched.

A pod whose models are in its image or in a volume has none of this: what is rendered for it must
stay as it was, or an operator upgrade would restart the fleet.
"""

from __future__ import annotations

from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.model import Model
from igw_operator.plan.endpoints import parse_http_port
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.places import Place, place_models
from igw_operator.plan.security import build_container_security

_WEB: Final = ("http://", "https://")
_ENDPOINT_VARIABLE: Final = "AWS_ENDPOINT_URL"
# Keys of the Secret, which are also the variables, and whether they may be absent. By name, never
# the whole Secret: who may write a gateway could read any other one through its model's address.
_STORE_KEYS: Final = {
    "AWS_ACCESS_KEY_ID": False,
    "AWS_SECRET_ACCESS_KEY": False,
    "AWS_SESSION_TOKEN": True,
    "AWS_REGION": True,
}
_WEB_KEYS: Final = {"IGW_BEARER_TOKEN": False}


def find_store_port(place: Place) -> int | None:
    """The TCP port that the fetching needs, or None where nothing is fetched."""
    model = place.model
    if model.uri is None or not place.is_fetched:
        return None
    if model.uri.startswith(_WEB):
        return parse_http_port(model.uri, f"{place.field}.uri")
    return parse_http_port(model.endpoint or "https://", f"{place.field}.endpoint")


def build_fetchers(inputs: PlanInput) -> list[dict[str, Any]]:
    """The init containers, one for each model; the kubelet starts one again until it succeeds."""
    places = place_models(inputs.gateway.spec)
    return [_build_fetcher(inputs, place) for place in places if place.is_fetched]


def _build_fetcher(inputs: PlanInput, place: Place) -> dict[str, Any]:
    spec = inputs.gateway.spec
    suffix = f"-{place.number}" if place.number else ""
    return {
        "name": f"{conventions.CONTAINER_FETCH}{suffix}",
        "image": inputs.runtime.spec.image,
        "imagePullPolicy": inputs.runtime.spec.image_pull_policy,
        "args": _build_arguments(place),
        "env": _build_environment(place.model),
        "resources": _build_resources(spec),
        "securityContext": build_container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [place.build_mount(read_only=False)],
    }


def _build_arguments(place: Place) -> list[str]:
    model = place.model
    # The kubelet would put a variable's value in the place of $(NAME).
    uri = (model.uri or "").replace("$", "$$")
    arguments = ["fetch", f"--uri={uri}", f"--output={place.folder}"]
    return [*arguments, f"--sha256={model.sha256}"] if model.sha256 else arguments


def _build_environment(model: Model) -> list[dict[str, Any]]:
    environment: list[dict[str, Any]] = []
    if model.endpoint:
        environment.append({"name": _ENDPOINT_VARIABLE, "value": model.endpoint})
    if model.credentials is None:
        return environment
    keys = _WEB_KEYS if (model.uri or "").startswith(_WEB) else _STORE_KEYS
    for key, optional in keys.items():
        source: dict[str, Any] = {"name": model.credentials.secret_name, "key": key}
        source |= {"optional": True} if optional else {}
        environment.append({"name": key, "valueFrom": {"secretKeyRef": source}})
    return environment


def _build_resources(spec: GatewaySpec) -> dict[str, Any]:
    """The server's own: they cost nothing, as it has not started, and keep the pod's QoS class."""
    return {
        side: {name: amount for name, amount in amounts.items() if name in {"cpu", "memory"}}
        for side, amounts in (
            ("requests", spec.resources.requests),
            ("limits", spec.resources.limits),
        )
    }
