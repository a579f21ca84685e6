"""Triton's own client, unmodified, against a real server process."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from runtime_kit.colours import BLUE, GREEN, NAMES, RED, SIDE, picture, write_package
from runtime_kit.process import ServerProcess, a_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
MODEL = "colours"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that all tests share."""
    folder = tmp_path_factory.mktemp("server")
    write_package(folder / "models" / MODEL)
    settings = {"model": {"name": MODEL}, "serving": {"drainSeconds": 0}}
    with a_server(folder, folder / "models", settings, grpc=True) as running:
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    """Triton's HTTP client."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as made:
        yield made


def pictures(*colours: tuple[int, int, int], binary: bool = True) -> Any:
    """Return pictures as Triton's client wants them."""
    contents = [picture(colour) for colour in colours]
    values = contents if binary else [base64.b64encode(each).decode() for each in contents]
    tensor = triton.InferInput("image", [len(colours)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=object), binary_data=binary)
    return tensor


def pixels(channel: int, binary: bool = True) -> Any:
    """Return a tensor of one colour."""
    values = np.zeros((1, 3, SIDE, SIDE), dtype=np.float32)
    values[0, channel] = 1
    tensor = triton.InferInput("input", values.shape, "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def wanted(binary: bool) -> list[Any]:
    """Return both outputs in one form."""
    return [
        triton.InferRequestedOutput(name, binary_data=binary)
        for name in ("labels", "probabilities")
    ]


def best(result: Any) -> list[str]:
    """Return each image's best class, from both outputs, which must agree."""
    labels = [
        each.decode() if isinstance(each, bytes) else each
        for each in result.as_numpy("labels")[:, 0]
    ]
    by_score = [NAMES[index] for index in result.as_numpy("probabilities").argmax(axis=1)]
    assert labels == by_score
    return labels


def test_health_and_metadata(client: Any) -> None:
    """Everything that the client may ask before it infers."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "statistics"]
    metadata = client.get_model_metadata(MODEL, "1")
    assert [tensor["shape"] for tensor in metadata["inputs"]] == [[-1], [-1, 3, SIDE, SIDE]]
    assert [tensor["shape"] for tensor in metadata["outputs"]] == [[-1, 4], [-1, 4]]
    assert client.get_model_repository_index()[0]["name"] == MODEL


@pytest.mark.parametrize("output_binary", [True, False], ids=["binary out", "json out"])
@pytest.mark.parametrize("input_binary", [True, False], ids=["binary in", "json in"])
@pytest.mark.parametrize("compression", [None, "gzip"], ids=["plain", "gzip"])
def test_pictures_and_tensors_in_every_encoding(
    client: Any, compression: str | None, *, input_binary: bool, output_binary: bool
) -> None:
    """Both inputs, both forms of each, compressed or not: the same answers."""
    for tensor, expected in (
        (pictures(RED, GREEN, BLUE, binary=input_binary), ["red", "green", "blue"]),
        (pixels(2, binary=input_binary), ["blue"]),
    ):
        result = client.infer(
            MODEL,
            [tensor],
            outputs=wanted(output_binary),
            request_id="q-1",
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        assert best(result) == expected
        response = result.get_response()
        assert (response["id"], response["model_version"]) == ("q-1", "1")


def test_without_outputs_the_client_gets_all_of_them(client: Any) -> None:
    """It asks for `binary_data_output` then."""
    result = client.infer(MODEL, [pictures(RED)], model_version="1")

    assert best(result) == ["red"]
    names = [output["name"] for output in result.get_response()["outputs"]]
    assert names == ["probabilities", "labels"]


def test_many_at_once(client: Any) -> None:
    """The client's own concurrency: every answer belongs to its question."""
    colours = [RED, GREEN, BLUE] * 5
    handles = [client.async_infer(MODEL, [pictures(colour)]) for colour in colours]

    names = ["red", "green", "blue"] * 5
    assert [best(handle.get_result())[0] for handle in handles] == names


async def test_asyncio_client(server: ServerProcess) -> None:
    """The same over aiohttp."""
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert await client.is_model_ready(MODEL)
        result = await client.infer(MODEL, [pictures(BLUE)])

    assert best(result) == ["blue"]


def test_statistics(client: Any) -> None:
    """Requests that were answered are in them."""
    before = client.get_inference_statistics(MODEL)["model_stats"][0]
    client.infer(MODEL, [pictures(RED, BLUE)])
    after = client.get_inference_statistics(MODEL, "1")["model_stats"][0]

    assert after["inference_count"] - before["inference_count"] == 2
    success = [stats["inference_stats"]["success"]["count"] for stats in (before, after)]
    assert success[1] - success[0] == 1
    assert client.get_inference_statistics()["model_stats"][0]["name"] == MODEL


def broken() -> Any:
    """Return a picture that is none."""
    tensor = triton.InferInput("image", [1], "BYTES")
    return tensor.set_data_from_numpy(np.array([b"junk"], dtype=object))


@pytest.mark.parametrize(
    ("ask", "status", "says"),
    [
        pytest.param(
            lambda c: c.infer("other", [pictures(RED)]), "404", "unknown model", id="model"
        ),
        pytest.param(
            lambda c: c.infer(MODEL, [pictures(RED)], model_version="9"),
            "404",
            "unknown version",
            id="version",
        ),
        pytest.param(lambda c: c.infer(MODEL, [broken()]), "415", "image formats", id="no picture"),
        pytest.param(
            lambda c: c.infer(MODEL, [pictures(RED), pixels(0)]), "400", "exactly one", id="both"
        ),
        pytest.param(
            lambda c: c.infer(MODEL, [triton.InferInput("input", [1], "INT8")]),
            "400",
            "",
            id="no data",
        ),
        pytest.param(
            lambda c: c.infer(
                MODEL, [pictures(RED)], outputs=[triton.InferRequestedOutput("logits")]
            ),
            "400",
            "unknown output",
            id="output",
        ),
        pytest.param(
            lambda c: c.infer(
                MODEL,
                [pictures(RED)],
                outputs=[triton.InferRequestedOutput("probabilities", class_count=2)],
            ),
            "400",
            "classification",
            id="classification",
        ),
        pytest.param(
            lambda c: c.infer(MODEL, [pictures(RED)], timeout=1), "504", "deadline", id="timeout"
        ),
        pytest.param(lambda c: c.get_model_config(MODEL), "404", "nothing", id="not served"),
    ],
)
def test_errors_reach_the_client_as_its_own(
    client: Any, ask: Callable[[Any], object], status: str, says: str
) -> None:
    """The client parses each refusal into its exception: status and message."""
    with pytest.raises(InferenceServerException) as caught:
        ask(client)

    assert caught.value.status() == status
    assert says in caught.value.message()
