"""Triton's own clients, unmodified, against a real server of several models and versions."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from google.protobuf.json_format import MessageToDict

from runtime_kit.colours import NAMES, RED, picture, write_package
from runtime_kit.process import ServerProcess, a_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SERVED = [("colours", "1", "red"), ("colours", "2", "RED"), ("shades", "7", "RED")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose second package has other names for the same classes."""
    folder = tmp_path_factory.mktemp("server")
    write_package(folder / "models" / "colours")
    louder = write_package(folder / "models" / "louder")
    (louder / "labels.txt").write_text("\n".join(NAMES).upper())
    settings = {
        "schemaVersion": 2,
        "model": {"name": "colours"},
        "additionalModels": [
            {"name": "colours", "version": "2", "uri": f"file://{louder}"},
            {"name": "shades", "version": "7", "uri": f"file://{louder}"},
        ],
        "serving": {"drainSeconds": 0},
    }
    with a_server(folder, folder / "models", settings, grpc=True) as running:
        yield running


@pytest.fixture(params=[tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def triton(request: pytest.FixtureRequest) -> Any:
    """One of the two client libraries, whose interfaces are alike."""
    return request.param


@pytest.fixture
def client(triton: Any, server: ServerProcess) -> Iterator[Any]:
    """Its client."""
    port = server.port if triton is tritonclient.http else server.grpc_port
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as made:
        yield made


def as_json(answer: Any) -> Any:
    """Return a gRPC answer as the HTTP client returns it."""
    if isinstance(answer, dict | list):
        return answer
    return MessageToDict(answer, preserving_proto_field_name=True)


def infer(triton: Any, client: Any, name: str, version: str) -> tuple[str, str, str]:
    """Return who answered, and the best label of a red picture."""
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([picture(RED)], dtype=object))
    result = client.infer(name, [tensor], model_version=version)
    answer = as_json(result.get_response())
    return answer["model_name"], answer["model_version"], result.as_numpy("labels")[0, 0].decode()


def test_every_version_is_asked_for_as_in_triton(triton: Any, client: Any) -> None:
    """By name and version; without a version the first one of the name answers."""
    assert [infer(triton, client, *asked[:2]) for asked in SERVED] == SERVED
    assert infer(triton, client, "colours", "") == SERVED[0]
    assert infer(triton, client, "shades", "") == SERVED[2]


def test_every_version_is_listed(client: Any) -> None:
    """In the index, in the metadata of its name, and as ready."""
    index = as_json(client.get_model_repository_index())
    listed = index["models"] if isinstance(index, dict) else index
    assert [(it["name"], it["version"], it["state"]) for it in listed] == [
        (name, version, "READY") for name, version, _ in SERVED
    ]
    assert as_json(client.get_model_metadata("colours"))["versions"] == ["1", "2"]
    assert client.is_model_ready("colours", "2")


def test_every_version_has_statistics_of_its_own(triton: Any, client: Any) -> None:
    """A request counts where it was answered."""

    def count(name: str = "", version: str = "") -> dict[tuple[str, str], int]:
        told = as_json(client.get_inference_statistics(name, version))["model_stats"]
        return {(it["name"], it["version"]): int(it.get("inference_count", 0)) for it in told}

    before = count()
    infer(triton, client, "colours", "2")
    after = count()
    assert {key: after[key] - before[key] for key in after} == {
        ("colours", "1"): 0,
        ("colours", "2"): 1,
        ("shades", "7"): 0,
    }
    assert count("colours") == {key: after[key] for key in after if key[0] == "colours"}
    assert count("shades", "7") == {("shades", "7"): after["shades", "7"]}
