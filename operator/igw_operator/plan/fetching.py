"""The init container that fetches a model, where the model has to be fetched.

A pod whose model is in its image or in a volume has none of this: what is rendered for it must
stay as it was, or an operator upgrade would restart the fleet.
"""

from __future__ import annotations

from typing import Any, Final

from igw_operator import conventions
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.model import Model
from igw_operator.plan.endpoints import parse_http_port
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.security import build_container_security

_WEB: Final = ("http://", "https://")
_REMOTE: Final = (*_WEB, "s3://", "gs://")
# An archive, 8 GiB at most (`igw_runtime.models.fetch`), and the note beside its part.
_VOLUME_LIMIT: Final = "9Gi"
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


def is_fetched(uri: str | None) -> bool:
    """Whether the model has to be brought into the pod."""
    return uri is not None and uri.startswith(_REMOTE)


def find_store_port(model: Model) -> int | None:
    """The TCP port that the fetching needs, or None where nothing is fetched."""
    if model.uri is None or not is_fetched(model.uri):
        return None
    if model.uri.startswith(_WEB):
        return parse_http_port(model.uri, "spec.model.uri")
    return parse_http_port(model.endpoint or "https://", "spec.model.endpoint")


def build_model_volume() -> dict[str, Any]:
    """Where the package is put. It outlives containers, so a fetch that was cut goes on."""
    return {"name": "models", "emptyDir": {"sizeLimit": _VOLUME_LIMIT}}


def build_fetcher(inputs: PlanInput) -> dict[str, Any]:
    """The init container; the kubelet starts it again until it has succeeded."""
    spec = inputs.gateway.spec
    return {
        "name": conventions.CONTAINER_FETCH,
        "image": inputs.runtime.spec.image,
        "imagePullPolicy": inputs.runtime.spec.image_pull_policy,
        "args": _build_arguments(spec.model),
        "env": _build_environment(spec.model),
        "resources": _build_resources(spec),
        "securityContext": build_container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "models", "mountPath": conventions.MODEL_DIR}],
    }


def _build_arguments(model: Model) -> list[str]:
    # The kubelet would put a variable's value in the place of $(NAME).
    uri = (model.uri or "").replace("$", "$$")
    arguments = ["fetch", f"--uri={uri}", f"--output={conventions.MODEL_DIR}"]
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
