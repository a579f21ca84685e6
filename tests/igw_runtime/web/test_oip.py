import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from igw_runtime.serving.lifecycle import State
from runtime_kit.asgi import Answer
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import BLUE, RED, SIDE, picture

INFER = "/v2/models/colours/infer"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a serving path."""
    with a_bench() as built:
        yield built


def images(*colours: tuple[int, int, int]) -> dict[str, Any]:
    """Return an image input."""
    data = [base64.b64encode(picture(colour)).decode() for colour in colours]
    return {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}


def nested(depth: int) -> list[Any]:
    """Return lists in lists."""
    return [nested(depth - 1)] if depth else []


def tensor(**changes: Any) -> dict[str, Any]:
    """Return a tensor input, blue."""
    data = np.zeros((1, 3, SIDE, SIDE), dtype=np.float32)
    data[0, 2] = 1
    shape = [1, 3, SIDE, SIDE]
    flat = data.ravel().tolist()
    return {"name": "input", "datatype": "FP32", "shape": shape, "data": flat} | changes


async def infer(bench: Bench, content: Any, path: str = INFER) -> Answer:
    """Send an inference request."""
    body = json.dumps(content).encode()
    # tritonclient sends JSON without a content type.
    return await bench.client.call(
        "POST", path, chunks=[body], headers={"content-length": str(len(body))}
    )


async def test_images_are_classified_in_order(bench: Bench) -> None:
    """A batch of base64 pictures gives one row each, id echoed."""
    answer = await infer(bench, {"id": "q1", "inputs": [images(RED, BLUE)]})
    content = answer.json()

    assert answer.status == 200
    assert (content["model_name"], content["model_version"], content["id"]) == (
        "colours",
        "1",
        "q1",
    )
    probabilities, labels = content["outputs"]
    assert (probabilities["shape"], labels["shape"]) == ([2, 4], [2, 4])
    assert np.argmax(np.reshape(probabilities["data"], (2, 4)), axis=1).tolist() == [0, 2]
    assert labels["data"][0::4] == ["red", "blue"]
    assert bench.admission.in_system == 0


async def test_tensor_is_classified_nested_or_flat(bench: Bench) -> None:
    """Row-major data may be nested."""
    nested = np.reshape(tensor()["data"], (1, 3, SIDE, SIDE)).tolist()
    for data in (tensor(), tensor(data=nested)):
        content = (await infer(bench, {"inputs": [data], "outputs": [{"name": "labels"}]})).json()
        [labels] = content["outputs"]
        assert labels["data"][0] == "blue"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([], id="not an object"),
        pytest.param({}, id="no inputs"),
        pytest.param({"inputs": []}, id="empty inputs"),
        pytest.param({"inputs": [tensor(), tensor()]}, id="duplicate inputs"),
        pytest.param({"inputs": [tensor(name="other")]}, id="unknown input"),
        pytest.param({"inputs": [tensor(datatype="INT8")]}, id="wrong type"),
        pytest.param({"inputs": [tensor(shape=[1, 3, 5, 5])]}, id="wrong shape"),
        pytest.param({"inputs": [tensor(shape=[2, 3, SIDE, SIDE])]}, id="too few elements"),
        pytest.param({"inputs": [tensor(shape=[-1, 3, SIDE, SIDE])]}, id="negative dimension"),
        pytest.param({"inputs": [tensor(shape="x")]}, id="shape is no list"),
        pytest.param({"inputs": [tensor(shape=[1, 3.0, SIDE, SIDE])]}, id="fractional shape"),
        pytest.param({"inputs": [tensor(shape=[True, 3, SIDE, SIDE])]}, id="boolean shape"),
        pytest.param({"inputs": [tensor(shape=[])]}, id="empty shape"),
        pytest.param(
            {"inputs": [tensor(data=[1e39] * (3 * SIDE * SIDE))]}, id="too large for FP32"
        ),
        pytest.param({"inputs": [tensor(data=["x"])]}, id="text as data"),
        pytest.param({"inputs": [tensor(data=[[1], [1, 2]])]}, id="ragged data"),
        pytest.param(
            {"inputs": [tensor(data=[float("nan")] * (3 * SIDE * SIDE))]}, id="not a number"
        ),
        pytest.param({"inputs": [images(RED) | {"shape": [3]}]}, id="shape and data differ"),
        pytest.param({"inputs": [images(RED) | {"data": ["%"]}]}, id="not base64"),
        pytest.param({"inputs": [images(RED)], "outputs": [{"name": "x"}]}, id="unknown output"),
        pytest.param({"inputs": [images(RED)], "id": 7}, id="id is a number"),
        pytest.param({"inputs": [images(RED)], "id": "\ud800"}, id="id is half a character"),
        pytest.param({"inputs": [images(RED)], "outputs": 7}, id="outputs is a number"),
        pytest.param({"inputs": [images(RED)], "outputs": [{"name": []}]}, id="name is a list"),
        pytest.param({"inputs": [images(RED) | {"data": nested(400)}]}, id="deeply nested images"),
        pytest.param({"inputs": [tensor(data=nested(400))]}, id="deeply nested tensor"),
        pytest.param({"inputs": [tensor(shape=[10**30, 3, SIDE, SIDE])]}, id="huge dimension"),
    ],
)
async def test_bad_requests_are_400_in_the_protocols_form(bench: Bench, content: Any) -> None:
    """Clients of the protocol parse `error` and nothing else."""
    answer = await infer(bench, content)

    assert answer.status == 400
    assert list(answer.json()) == ["error"]


async def test_bad_image_in_a_batch_fails_the_request(bench: Bench) -> None:
    """The protocol has no partial answers."""
    broken = images(RED, RED)
    broken["data"][1] = base64.b64encode(b"junk").decode()

    answer = await infer(bench, {"inputs": [broken]})

    assert (answer.status, list(answer.json())) == (415, ["error"])


async def test_batch_counts_as_its_images() -> None:
    """A batch cannot smuggle more work past the queue's limit."""
    with a_bench(max_queue=2) as bench:
        bench.admission.reserve_slots(1)
        answer = await infer(bench, {"inputs": [images(*[RED] * 3)]})

        assert answer.status == 503
        assert bench.admission.in_system == 1


async def test_batch_that_never_fits_is_the_clients_mistake() -> None:
    """A retry would not help, and no error budget is spent on it."""
    with a_bench(max_queue=2) as bench:
        answer = await infer(bench, {"inputs": [images(*[RED] * 4)]})

        assert (answer.status, "retry-after" in answer.headers) == (400, False)
        assert "at most 3" in answer.json()["error"]
        assert bench.admission.in_system == 0


async def test_unknown_encoding_is_415(bench: Bench) -> None:
    """A compression that nobody undoes is said to be one."""
    headers = {"content-length": "2", "content-encoding": "br"}
    answer = await bench.client.call("POST", INFER, chunks=[b"{}"], headers=headers)

    assert (answer.status, list(answer.json())) == (415, ["error"])


async def test_unknown_path_of_the_protocol_is_404_in_its_form(bench: Bench) -> None:
    """Clients ask for optional parts of the protocol, and parse `error` then, too."""
    answer = await bench.client.get("/v2/repository/index")

    assert (answer.status, list(answer.json())) == (404, ["error"])
    labels = {"method": "GET", "endpoint": "_other", "status": "4xx"}
    assert bench.sample("http_requests_total", **labels) == 1


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/colours/versions/9/infer"])
async def test_unknown_model_or_version_is_404(bench: Bench, path: str) -> None:
    """Another name is not silently served by this model."""
    answer = await infer(bench, {"inputs": [images(RED)]}, path)

    assert (answer.status, list(answer.json())) == (404, ["error"])


async def test_versioned_inference_has_its_own_endpoint_label(bench: Bench) -> None:
    """The template, never the path, is the label."""
    answer = await infer(bench, {"inputs": [images(RED)]}, "/v2/models/colours/versions/1/infer")

    assert answer.status == 200
    endpoint = "/v2/models/{model}/versions/{version}/infer"
    labels = {"method": "POST", "endpoint": endpoint, "status": "2xx"}
    assert bench.sample("http_requests_total", **labels) == 1


async def test_binary_extension_is_refused_clearly(bench: Bench) -> None:
    """What is not advertised is not half understood."""
    answer = await bench.client.post(INFER, b"x", **{"inference-header-content-length": "0"})

    assert answer.status == 400
    assert "binary" in answer.json()["error"]


async def test_metadata_describes_tensors_and_truth(bench: Bench) -> None:
    """Inputs, outputs, and how the model is really run."""
    server = (await bench.client.get("/v2")).json()
    model = (await bench.client.get("/v2/models/colours/versions/1")).json()

    assert (server["name"], server["extensions"]) == ("igw-runtime", [])
    assert (model["name"], model["versions"]) == ("colours", ["1"])
    assert [t["name"] for t in model["inputs"]] == ["image", "input"]
    assert model["inputs"][1]["shape"] == [-1, 3, SIDE, SIDE]
    assert model["parameters"]["weights"] == "custom"
    assert model["parameters"]["precision"] == "fp32"


@pytest.mark.parametrize(
    ("state", "status"), [(State.STARTING, 503), (State.READY, 200), (State.DRAINING, 503)]
)
async def test_model_readiness_is_the_processs(state: State, status: int) -> None:
    """All readiness endpoints agree."""
    with a_bench(state=state) as bench:
        for path in ("/ready", "/v2/health/ready", "/v2/models/colours/ready"):
            assert status == (await bench.client.get(path)).status
        for path in ("/health", "/v2/health/live"):
            assert (await bench.client.get(path)).status == 200
