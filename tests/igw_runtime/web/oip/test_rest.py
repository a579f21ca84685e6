import asyncio
import base64
import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from igw_runtime import __version__
from igw_runtime.serving.lifecycle import State
from igw_runtime.web.oip.inference import DATATYPES
from runtime_kit.asgi import Answer
from runtime_kit.bench import Bench, GatedSession, a_bench
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
        pytest.param({"inputs": [tensor(shape=[0, 3, SIDE, SIDE], data=[])]}, id="no image"),
        pytest.param({"inputs": [tensor(datatype="FP8")]}, id="unknown type"),
        pytest.param({"inputs": [tensor(datatype="FP16")]}, id="half precision in JSON"),
        pytest.param({"inputs": [tensor(data=["1.0"] * (3 * SIDE * SIDE))]}, id="text that counts"),
        pytest.param({"inputs": [tensor(data=[10**30] * (3 * SIDE * SIDE))]}, id="huge integers"),
        pytest.param({"inputs": [tensor() | {"name": 7}]}, id="input name is a number"),
        pytest.param({"inputs": [{"name": "input", "datatype": "FP32"}]}, id="no shape"),
        pytest.param({"inputs": [{**images(RED), "parameters": 7}]}, id="parameters is a number"),
        pytest.param({"inputs": [images(RED) | {"data": [7]}]}, id="picture is a number"),
        pytest.param(
            {"inputs": [images(RED)], "outputs": [{"name": "labels"}, {"name": "labels"}]},
            id="output twice",
        ),
        pytest.param(
            {
                "inputs": [images(RED)],
                "outputs": [{"name": "labels", "parameters": {"classification": 3}}],
            },
            id="classification is not served",
        ),
        pytest.param(
            {
                "inputs": [images(RED)],
                "outputs": [{"name": "labels", "parameters": {"shared_memory_region": "x"}}],
            },
            id="shared memory is not served",
        ),
        pytest.param(
            {"inputs": [images(RED)], "parameters": {"binary_data_output": 1}}, id="flag is 1"
        ),
        pytest.param({"inputs": [images(RED)], "parameters": {"timeout": "1"}}, id="text timeout"),
        pytest.param({"inputs": [images(RED)], "parameters": {"timeout": -1}}, id="past timeout"),
        pytest.param(
            {"inputs": [images(RED) | {"parameters": {"binary_data_size": 3}}]},
            id="raw data without the header",
        ),
    ],
)
async def test_bad_requests_are_400_in_the_protocols_form(bench: Bench, content: Any) -> None:
    """Clients of the protocol parse `error` and nothing else."""
    answer = await infer(bench, content)

    assert answer.status == 400
    assert list(answer.json()) == ["error"]


async def test_bad_image_in_a_batch_fails_the_request(bench: Bench) -> None:
    """The protocol has no partial answers; the error says which image it was."""
    broken = images(RED, RED)
    broken["data"][1] = base64.b64encode(b"junk").decode()

    answer = await infer(bench, {"inputs": [broken]})

    assert (answer.status, list(answer.json())) == (415, ["error"])
    assert answer.json()["error"].startswith("image 1: ")


async def test_batch_counts_as_its_images() -> None:
    """A batch cannot smuggle more work past the queue's limit."""
    with a_bench(max_queue=2) as bench:
        bench.admission.reserve(1, 0)
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
    answer = await bench.client.get("/v2/models/colours/config")

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


async def test_metadata_describes_tensors_and_truth(bench: Bench) -> None:
    """Inputs, outputs, and how the model is really run."""
    server = (await bench.client.get("/v2")).json()
    model = (await bench.client.get("/v2/models/colours/versions/1")).json()

    assert (server["name"], server["version"]) == ("igw-runtime", __version__)
    assert server["extensions"] == ["binary_tensor_data", "statistics"]
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


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
async def test_every_datatype_is_known_and_answered_by_the_models(
    bench: Bench, datatype: str
) -> None:
    """A type of the protocol that the model does not take is told from a mistyped one."""
    answers = [
        await infer(bench, {"inputs": [tensor(datatype=datatype)]}),
        await infer(bench, {"inputs": [images(RED) | {"datatype": datatype}]}),
    ]

    served = {"FP32": [200, 400], "BYTES": [400, 200]}.get(datatype, [400, 400])
    assert served == [answer.status for answer in answers]
    refusals = [answer.json()["error"] for answer in answers if answer.status == 400]
    assert all(datatype in refusal and "unknown" not in refusal for refusal in refusals)


async def test_id_is_echoed_only_if_given(bench: Bench) -> None:
    """An empty id is none."""
    for content in ({}, {"id": ""}, {"id": None}):
        answer = await infer(bench, content | {"inputs": [images(RED)]})
        assert "id" not in answer.json()


async def test_outputs_come_as_asked(bench: Bench) -> None:
    """Named outputs in their order; none named is all."""
    for asked, names in (
        ([{"name": "labels"}], ["labels"]),
        ([{"name": "labels"}, {"name": "probabilities"}], ["labels", "probabilities"]),
        ([], ["probabilities", "labels"]),
    ):
        answer = await infer(bench, {"inputs": [images(RED)], "outputs": asked})
        assert [output["name"] for output in answer.json()["outputs"]] == names


async def test_timeout_parameter_is_a_deadline() -> None:
    """Microseconds; late work is a 504, and its place is free again."""
    session = GatedSession()
    with a_bench(session=session) as bench:
        content = {"inputs": [images(RED)], "parameters": {"timeout": 20_000}}
        answer = await infer(bench, content)
        session.gate.set()

        assert (answer.status, list(answer.json())) == (504, ["error"])
        assert bench.admission.in_system == 0


@pytest.mark.parametrize(("promised", "counted"), [(0.3, "4xx"), (0.01, "5xx")])
async def test_short_timeout_is_the_clients_own(promised: float, counted: str) -> None:
    """As with the header: less time than is promised to all is not ours to answer for."""
    session = GatedSession()
    with a_bench(session=session, objective_seconds=promised) as bench:
        content = {"inputs": [images(RED)], "parameters": {"timeout": 20_000}}
        assert (await infer(bench, content)).status == 504
        session.gate.set()

        labels = {"method": "POST", "endpoint": "/v2/models/{model}/infer", "status": counted}
        assert bench.sample("http_requests_total", **labels) == 1


async def test_timeout_beyond_all_numbers_is_the_longest(bench: Bench) -> None:
    """JSON can name more microseconds than a float holds; that is no server error."""
    answer = await infer(bench, {"inputs": [images(RED)], "parameters": {"timeout": 10**400}})

    assert answer.status == 200


async def test_timeout_of_zero_is_none(bench: Bench) -> None:
    """As in Triton, whose clients send it."""
    answer = await infer(bench, {"inputs": [images(RED)], "parameters": {"timeout": 0}})

    assert answer.status == 200


async def test_answers_are_compressed_for_those_who_ask() -> None:
    """Gzip if named and not forbidden; small answers are not worth it."""
    with a_bench() as bench:
        body = json.dumps({"inputs": [images(*[RED] * 12)]}).encode()
        for accepted, compressed in (
            ("gzip", True),
            ("br, gzip;q=0.5", True),
            ("gzip;q=0", False),
            ("gzip; q=0.000", False),
            ("identity", False),
        ):
            headers = {"content-length": str(len(body)), "accept-encoding": accepted}
            answer = await bench.client.call("POST", INFER, chunks=[body], headers=headers)
            assert compressed is (answer.headers.get("content-encoding") == "gzip"), accepted
            text = gzip.decompress(answer.body) if compressed else answer.body
            assert len(json.loads(text)["outputs"][1]["data"]) == 48
            assert str(len(answer.body)) == answer.headers["content-length"]
        small = json.dumps({"inputs": [images(RED)]}).encode()
        answer = await bench.client.post(INFER, small, **{"accept-encoding": "gzip"})
        assert "content-encoding" not in answer.headers


async def test_compressed_requests_are_bounded_by_what_they_become() -> None:
    """A small body that unpacks to a large one is refused, and not unpacked first."""
    with a_bench(max_body_bytes=10_000) as bench:
        headers = {"content-encoding": "gzip"}
        good = gzip.compress(json.dumps({"inputs": [images(RED)]}).encode())
        bomb = gzip.compress(b" " * 100_000)

        assert (await bench.client.post(INFER, good, **headers)).status == 200
        answer = await bench.client.post(INFER, bomb, **headers)
        assert (answer.status, list(answer.json())) == (413, ["error"])


async def test_what_is_unpacked_counts_against_the_queued_bytes() -> None:
    """Many small bodies of large tensors fill the queue as large bodies do."""
    session = GatedSession()
    packed = gzip.compress(json.dumps({"inputs": [tensor()]}).encode())
    size = 4 * 3 * SIDE * SIDE
    with a_bench(session=session, max_queue_bytes=size + 2 * len(packed)) as bench:
        headers = {"content-encoding": "gzip"}
        first = asyncio.create_task(bench.client.post(INFER, packed, **headers))
        assert await asyncio.to_thread(session.entered.wait, 5)
        second = await bench.client.post(INFER, packed, **headers)
        session.gate.set()

        assert ((await first).status, second.status) == (200, 503)
        assert "retry-after" in second.headers


@pytest.mark.parametrize(
    ("body", "listed"),
    [(b"", 1), (b"{}", 1), (b'{"ready": true}', 1)],
    ids=["no body", "empty", "only ready ones"],
)
async def test_repository_index_lists_the_model(bench: Bench, body: bytes, listed: int) -> None:
    """One model, by name, version and state."""
    answer = await bench.client.post("/v2/repository/index", body)

    assert answer.status == 200
    assert len(answer.json()) == listed
    assert answer.json()[0] == {"name": "colours", "version": "1", "state": "READY", "reason": ""}


async def test_repository_index_of_a_starting_server() -> None:
    """Not ready is a state, not an error."""
    with a_bench(state=State.STARTING) as bench:
        everything = await bench.client.post("/v2/repository/index", b"")
        ready = await bench.client.post("/v2/repository/index", b'{"ready": true}')

    assert [entry["state"] for entry in everything.json()] == ["UNAVAILABLE"]
    assert ready.json() == []


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready": 1}'])
async def test_bad_question_to_the_repository_is_refused(bench: Bench, body: bytes) -> None:
    """The question is parsed as strictly as any."""
    answer = await bench.client.post("/v2/repository/index", body)

    assert (answer.status, list(answer.json())) == (400, ["error"])


async def test_statistics_count_what_was_done(bench: Bench) -> None:
    """Requests by outcome, images, forward passes, and the time of each stage."""
    await infer(bench, {"inputs": [images(RED, BLUE)]})
    await infer(bench, {"inputs": [tensor()]})
    await infer(bench, {})
    for path in (
        "/v2/models/stats",
        "/v2/models/colours/stats",
        "/v2/models/colours/versions/1/stats",
    ):
        [stats] = (await bench.client.get(path)).json()["model_stats"]
        work = stats["inference_stats"]

        assert (stats["name"], stats["version"]) == ("colours", "1")
        assert (stats["inference_count"], stats["execution_count"]) == (3, 3)
        assert abs(stats["last_inference"] - time.time() * 1000) < 60_000
        assert {name: part["count"] for name, part in work.items()} == {
            "success": 2,
            "fail": 1,
            "queue": 3,
            "compute_input": 2,  # a tensor needs none
            "compute_infer": 3,
            "compute_output": 3,
            "cache_hit": 0,
            "cache_miss": 0,
        }
        assert work["success"]["ns"] > work["compute_infer"]["ns"] > 0
        assert [(b["batch_size"], b["compute_infer"]["count"]) for b in stats["batch_stats"]] == [
            (1, 3)
        ]


async def test_statistics_of_an_unused_model_are_zero(bench: Bench) -> None:
    """Nothing has happened is an answer."""
    [stats] = (await bench.client.get("/v2/models/stats")).json()["model_stats"]

    assert (stats["inference_count"], stats["last_inference"], stats["batch_stats"]) == (0, 0, [])


async def test_statistics_of_another_model_are_404(bench: Bench) -> None:
    """In the protocol's form."""
    for path in ("/v2/models/other/stats", "/v2/models/colours/versions/9/stats"):
        answer = await bench.client.get(path)
        assert (answer.status, list(answer.json())) == (404, ["error"])
