from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.errors import SpecError
from igw_runtime.__main__ import parse_arguments
from igw_runtime.models.fetch import MAX_BYTES
from igw_runtime.models.location import find_location
from igw_runtime.models.part import PACKAGE_FILE
from igw_runtime.settings import parse_settings, read_environment
from plan_kit.children import build, container, pod_spec

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
REMOTE = ("https://host/m.tar", "s3://b/m.tar", "gs://b/m.tar")
LOCAL = (None, "file:///models/x", "pvc://claim/x")


def of(uri: str | None, **model: Any) -> dict[str, Any]:
    """A spec with a model at the uri."""
    return {"model": {"name": "m", "uri": uri} | model}


def deployment(**spec: Any) -> Manifest:
    """The Deployment of the server."""
    return build(**spec)["Deployment", "photos"]


def fetcher(**spec: Any) -> dict[str, Any]:
    """The only init container."""
    (only,) = pod_spec(deployment(**spec))["initContainers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("uri", LOCAL)
def test_a_model_that_is_there_is_not_fetched(uri: str | None) -> None:
    """Its pod template has no init container, not even an empty list of them."""
    assert "initContainers" not in pod_spec(deployment(**of(uri)))


def test_a_rollout_waits_for_the_largest_package() -> None:
    """Else it would count as stuck while all is well."""
    usual = deployment()["spec"]["progressDeadlineSeconds"]
    deadline = deployment(**of(REMOTE[0]))["spec"]["progressDeadlineSeconds"]
    assert (deadline - usual) * 3_000_000 > MAX_BYTES


@pytest.mark.parametrize("uri", REMOTE)
def test_the_package_is_put_where_the_server_looks(uri: str) -> None:
    """Fetched by one container, read by the other, which cannot write there."""
    children = build(**of(uri, sha256=SHA256))
    server = children["Deployment", "photos"]
    text = children["ConfigMap", "photos-config"]["data"][conventions.CONFIG_FILE]
    model = parse_settings(text.encode()).settings.model
    (writes,) = fetcher(**of(uri))["volumeMounts"]
    (reads,) = (it for it in container(server)["volumeMounts"] if it["name"] == "models")
    assert writes == {"name": "models", "mountPath": "/mnt/models"}
    assert reads == writes | {"readOnly": True}
    assert model.uri == f"file:///mnt/models/{PACKAGE_FILE}"
    assert model.sha256 == SHA256


def test_the_volume_has_room_for_the_largest_package() -> None:
    """The kubelet evicts a pod that takes more than its volume may hold."""
    (volume,) = (
        it for it in pod_spec(deployment(**of(REMOTE[0])))["volumes"] if it["name"] == "models"
    )
    limit = volume["emptyDir"]["sizeLimit"]
    assert int(limit.removesuffix("Gi")) << 30 > MAX_BYTES


@pytest.mark.parametrize("sha256", [None, SHA256])
@pytest.mark.parametrize("uri", REMOTE)
def test_the_runtime_understands_what_it_is_told(uri: str, sha256: str | None) -> None:
    """The runtime's own parser takes the arguments."""
    arguments = fetcher(**of(uri, sha256=sha256))["args"]
    options = parse_arguments(arguments, read_environment({}))
    assert (options.uri, options.sha256) == (uri, sha256 or "")
    assert options.output == Path(conventions.MODEL_DIR)


def test_no_variable_is_put_into_an_address() -> None:
    """The kubelet would replace $(NAME), and the address could carry a secret away."""
    arguments = fetcher(**of("https://host/$(IGW_BEARER_TOKEN)"))["args"]
    assert "--uri=https://host/$$(IGW_BEARER_TOKEN)" in arguments


def test_it_runs_as_the_server_does() -> None:
    """The same image, as confined, and in the same class of service."""
    spec = of(REMOTE[0]) | {
        "resources": {
            "requests": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
            "limits": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
        }
    }
    server, fetches = container(deployment(**spec)), fetcher(**spec)
    same = ("image", "imagePullPolicy", "securityContext", "terminationMessagePolicy")
    assert {key: fetches[key] for key in same} == {key: server[key] for key in same}
    half = {"cpu": "2", "memory": "4Gi"}
    assert fetches["resources"] == {"requests": half, "limits": half}


@pytest.mark.parametrize(
    ("uri", "required", "optional"),
    [
        (
            "s3://b/m",
            {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
            {"AWS_SESSION_TOKEN", "AWS_REGION"},
        ),
        (
            "gs://b/m",
            {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
            {"AWS_SESSION_TOKEN", "AWS_REGION"},
        ),
        ("https://host/m", {"IGW_BEARER_TOKEN"}, set()),
    ],
)
def test_only_known_keys_of_a_secret_are_read(
    uri: str, required: set[str], optional: set[str]
) -> None:
    """By the container that fetches alone: whoever writes a gateway cannot read other secrets."""
    spec = of(uri, credentials={"secretName": "reader"})
    sources = {it["name"]: it["valueFrom"]["secretKeyRef"] for it in fetcher(**spec)["env"]}
    assert {it["name"] for it in sources.values()} == {"reader"}
    assert all(name == it["key"] for name, it in sources.items())
    assert {name for name, it in sources.items() if "optional" not in it} == required
    assert {name for name, it in sources.items() if it.get("optional")} == optional
    assert "envFrom" not in fetcher(**spec)
    assert "reader" not in str(container(deployment(**spec)))


def test_a_store_of_ones_own_is_asked() -> None:
    """Under the variable that the runtime reads."""
    spec = of("s3://b/m", endpoint="http://minio.storage:9000")
    environment = {it["name"]: it["value"] for it in fetcher(**spec)["env"]}
    assert find_location_url("s3://b/m", environment) == "http://minio.storage:9000/b/m"


def find_location_url(uri: str, environment: dict[str, str]) -> str:
    """Where the runtime looks, without credentials."""
    return find_location(uri, environment, NOW).url


@pytest.mark.parametrize(
    ("model", "port"),
    [
        (of("https://host/m"), 443),
        (of("https://host:8443/m"), 8443),
        (of("http://host/m", sha256=SHA256), 80),
        (of("s3://b/m"), 443),
        (of("s3://b/m", endpoint="http://minio.storage:9000"), 9000),
        (of("s3://b/m", endpoint="http://minio"), 80),
        (of("gs://b/m"), 443),
    ],
)
def test_the_policy_lets_the_pod_reach_the_store(model: dict[str, Any], port: int) -> None:
    """By port only: a name cannot be a peer."""
    egress = build(**model)["NetworkPolicy", "photos"]["spec"]["egress"]
    assert egress[-1] == {"ports": [{"protocol": "TCP", "port": port}]}


@pytest.mark.parametrize("uri", LOCAL)
def test_the_policy_opens_nothing_where_nothing_is_fetched(uri: str | None) -> None:
    """DNS and the collector, as before."""
    assert len(build(**of(uri))["NetworkPolicy", "photos"]["spec"]["egress"]) == 2


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (of("https://host:99999/m"), "spec.model.uri"),
        (of("s3://b/m", endpoint="http://minio:99999"), "spec.model.endpoint"),
    ],
)
def test_a_port_that_is_none_is_refused_by_path(spec: dict[str, Any], path: str) -> None:
    """The pattern only counts digits."""
    with pytest.raises(SpecError, match=f"{path}: has no valid port"):
        build(**spec)
