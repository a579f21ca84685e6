"""The binary tensor extension: what is sent, what comes back, and what is refused."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from igw_runtime.errors import MalformedRequestError
from igw_runtime.web.oip.framing import parse_message
from igw_runtime.web.oip.inference import InferRequest, join_elements, split_elements
from runtime_kit.asgi import Answer
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import BLUE, RED, SERVED, SIDE, picture

INFER = "/v2/models/colours/infer"
LENGTH = "inference-header-content-length"
PIXELS = np.zeros((1, 3, SIDE, SIDE), dtype="<f4")
PIXELS[0, 2] = 1
SHAPE = list(PIXELS.shape)
FUZZ = settings(max_examples=1500, suppress_health_check=list(HealthCheck))
SLOW_FUZZ = settings(FUZZ, max_examples=300)  # what takes hypothesis long to make up
# Only a hang takes this long, however busy the machine is.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a serving path."""
    with a_bench() as built:
        yield built


def raw_input(name: str, datatype: str, shape: Any, size: Any) -> dict[str, Any]:
    """Describe an input whose data follows."""
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def pixels(**changes: Any) -> dict[str, Any]:
    """Describe the blue tensor."""
    return raw_input("input", "FP32", SHAPE, PIXELS.nbytes) | changes


def pictures(*contents: bytes) -> tuple[dict[str, Any], bytes]:
    """Return an image input and its raw data."""
    raw = join_elements(contents)
    return raw_input("image", "BYTES", [len(contents)], len(raw)), raw


async def send(
    bench: Bench, content: Any, raw: bytes = b"", length: str | None = None, **headers: str
) -> Answer:
    """Send an object and the data that follows it."""
    head = json.dumps(content).encode()
    headers = {LENGTH: str(len(head)) if length is None else length, **headers}
    return await bench.client.post(INFER, head + raw, "application/octet-stream", **headers)


def read(answer: Answer) -> dict[str, Any]:
    """Return the outputs of a binary answer by name, as a client reads them."""
    head = int(answer.headers.get(LENGTH, len(answer.body)))
    rest = answer.body[head:]
    outputs = {}
    for output in json.loads(answer.body[:head])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[output["name"]] = output["data"]
            continue
        raw, rest = rest[:size], rest[size:]
        if output["datatype"] == "FP32":
            outputs[output["name"]] = np.frombuffer(raw, "<f4").reshape(output["shape"])
        else:
            count = int(np.prod(output["shape"]))
            outputs[output["name"]] = split_elements(memoryview(raw), count)
    assert rest == b""
    return outputs


async def test_raw_tensor_is_classified(bench: Bench) -> None:
    """Little-endian FP32 goes to the engine as it is."""
    answer = await send(bench, {"inputs": [pixels()]}, PIXELS.tobytes())

    assert answer.status == 200
    assert read(answer)["labels"][0] == "blue"
    assert bench.count_stage("preprocess") == 0
    assert bench.admission.in_system == 0


async def test_raw_pictures_are_classified_in_order(bench: Bench) -> None:
    """BYTES with length prefixes; no base64 anywhere."""
    described, raw = pictures(picture(RED), picture(BLUE))
    for shape in ([2], [2, 1]):
        content = {"inputs": [described | {"shape": shape}], "outputs": [{"name": "labels"}]}
        answer = await send(bench, content, raw)

        assert read(answer)["labels"][0::4] == ["red", "blue"]


async def test_all_outputs_may_be_raw(bench: Bench) -> None:
    """`binary_data_output` asks for it, and the answer tells where its object ends."""
    described, raw = pictures(picture(RED), picture(BLUE))
    content = {"id": "q", "inputs": [described], "parameters": {"binary_data_output": True}}
    answer = await send(bench, content, raw)
    outputs = read(answer)

    assert answer.headers["content-type"] == "application/octet-stream"
    assert json.loads(answer.body[: int(answer.headers[LENGTH])])["id"] == "q"
    assert outputs["probabilities"].argmax(axis=1).tolist() == [0, 2]
    assert outputs["labels"][0::4] == [b"red", b"blue"]


@pytest.mark.parametrize("default", [True, False])
async def test_an_outputs_own_wish_wins(bench: Bench, *, default: bool) -> None:
    """`binary_data` on an output overrides the request's default."""
    described, raw = pictures(picture(RED))
    wishes = [
        {"name": "probabilities", "parameters": {"binary_data": not default}},
        {"name": "labels"},
    ]
    content = {"inputs": [described], "outputs": wishes}
    answer = await send(bench, content | {"parameters": {"binary_data_output": default}}, raw)
    outputs = read(answer)

    assert isinstance(outputs["probabilities"], list) is default
    assert outputs["labels"][0] == (b"red" if default else "red")


async def test_json_input_with_a_header_is_as_good(bench: Bench) -> None:
    """The header may be there although nothing follows."""
    inputs = {"name": "input", "datatype": "FP32", "shape": SHAPE, "data": PIXELS.ravel().tolist()}
    answer = await send(bench, {"inputs": [inputs]})

    assert (answer.status, read(answer)["labels"][0]) == (200, "blue")


async def test_length_of_zero_makes_the_body_the_picture(bench: Bench) -> None:
    """A raw request has no object at all; its answer is binary."""
    answer = await bench.client.post(INFER, picture(BLUE), **{LENGTH: "0"})

    assert answer.status == 200
    assert read(answer)["labels"][0] == b"blue"


RAW = PIXELS.tobytes()
ONE, ONE_RAW = pictures(picture(RED))


@pytest.mark.parametrize(
    ("content", "raw", "length"),
    [
        pytest.param({"inputs": [pixels()]}, RAW[:-1], None, id="one byte too few"),
        pytest.param({"inputs": [pixels()]}, RAW + b"x", None, id="one byte too many"),
        pytest.param({"inputs": [pixels()]}, b"", None, id="nothing follows"),
        pytest.param({"inputs": []}, RAW, None, id="nobody's data"),
        pytest.param({"inputs": [pixels()]}, RAW, "999999999", id="object longer than the body"),
        pytest.param({"inputs": [pixels()]}, RAW, "3", id="object cut short"),
        pytest.param({"inputs": [pixels()]}, RAW, "-1", id="negative length"),
        pytest.param({"inputs": [pixels()]}, RAW, "ten", id="length in words"),
        pytest.param({"inputs": [pixels()]}, RAW, "9" * 40, id="length of forty digits"),
        pytest.param(
            {"inputs": [pixels(parameters={"binary_data_size": -4})]}, RAW, None, id="negative"
        ),
        pytest.param(
            {"inputs": [pixels(parameters={"binary_data_size": True})]}, RAW, None, id="true"
        ),
        pytest.param(
            {"inputs": [pixels(parameters={"binary_data_size": 1e3})]}, RAW, None, id="fraction"
        ),
        pytest.param({"inputs": [pixels(data=[1])]}, RAW, None, id="data twice"),
        pytest.param({"inputs": [pixels(shape=[2, 3, SIDE, SIDE])]}, RAW, None, id="shape of two"),
        pytest.param(
            {"inputs": [pixels(shape=[2**62, 3, SIDE, SIDE])]}, RAW, None, id="shape that overflows"
        ),
        pytest.param({"inputs": [pixels(shape=[3, SIDE, SIDE])]}, RAW, None, id="shape of none"),
        pytest.param({"inputs": [pixels(datatype="FP16")]}, RAW, None, id="another type"),
        pytest.param(
            {"inputs": [pixels()]}, np.full_like(PIXELS, np.nan).tobytes(), None, id="no numbers"
        ),
        pytest.param({"inputs": [ONE | {"shape": [2]}]}, ONE_RAW, None, id="two of one picture"),
        pytest.param({"inputs": [ONE | {"shape": [0]}]}, ONE_RAW, None, id="no picture"),
        pytest.param({"inputs": [ONE | {"shape": [1, 2]}]}, ONE_RAW, None, id="two dimensions"),
        pytest.param({"inputs": [ONE | {"shape": [2**40]}]}, ONE_RAW, None, id="endless pictures"),
        pytest.param(
            {"inputs": [ONE]},
            struct.pack("<I", 2**32 - 1) + ONE_RAW[4:],
            None,
            id="picture longer than the body",
        ),
        pytest.param(
            {"inputs": [raw_input("image", "BYTES", [1], 2)]}, b"\1\0", None, id="half a length"
        ),
        pytest.param(
            {"inputs": [raw_input("image", "BYTES", [1], 0)]}, b"", None, id="no length at all"
        ),
    ],
)
async def test_sizes_that_do_not_add_up_are_refused(
    bench: Bench, content: Any, raw: bytes, length: str | None
) -> None:
    """What is announced and what is there are the same, to the byte."""
    answer = await send(bench, content, raw, length)

    assert answer.status == 400
    assert list(answer.json()) == ["error"]
    assert bench.admission.in_system == 0


async def test_two_inputs_are_refused_however_well_formed(bench: Bench) -> None:
    """A request is about pictures or about tensors."""
    answer = await send(bench, {"inputs": [pixels(), ONE]}, RAW + ONE_RAW)

    assert answer.status == 400
    assert "exactly one" in answer.json()["error"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
SIZES = st.sampled_from([0, 1, 4, len(RAW), len(ONE_RAW), len(RAW) + 1, -1, 2**63]) | st.integers()
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["input", "image"]) | JSON_VALUES,
        "datatype": st.sampled_from(["FP32", "BYTES", "INT64", "FP16"]) | JSON_VALUES,
        "shape": st.lists(st.sampled_from([1, 2, 3, SIDE, 0, -1, 2**62]), max_size=5) | JSON_VALUES,
        "data": JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": SIZES}) | JSON_VALUES,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=3) | JSON_VALUES},
    optional={
        "id": JSON_VALUES,
        "parameters": JSON_VALUES,
        "outputs": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["labels", "x"])}), max_size=2
        )
        | JSON_VALUES,
    },
)


def parse(body: bytes, length: int | None) -> InferRequest | None:
    """Parse, or refuse as the client's mistake; anything else is a bug."""
    try:
        return parse_message(body, length, SERVED, most=8)
    except MalformedRequestError:
        return None


@SLOW_FUZZ
@given(content=REQUESTS, raw=st.binary(max_size=64) | st.just(RAW) | st.just(ONE_RAW))
def test_any_object_is_parsed_or_refused(content: Any, raw: bytes) -> None:
    """No input makes the parser fail otherwise, or accept what does not add up."""
    head = json.dumps(content).encode()
    request = parse(head + raw, len(head))

    if request is not None:
        assert 1 <= len(request.payloads) <= 8


@FUZZ
@given(body=st.binary(max_size=300), length=st.none() | st.integers(0, 400))
def test_any_bytes_are_parsed_or_refused(body: bytes, length: int | None) -> None:
    """Nothing on the wire is an internal error."""
    parse(body, length)


@FUZZ
@given(
    valid=st.sampled_from(
        [
            json.dumps({"inputs": [pixels()]}).encode() + RAW[:512],
            json.dumps({"inputs": [ONE], "outputs": [{"name": "labels"}]}).encode() + ONE_RAW,
        ]
    ),
    cuts=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 800),
)
def test_damaged_requests_are_parsed_or_refused(
    valid: bytes, cuts: list[tuple[int, int]], length: int
) -> None:
    """Single bytes changed in what was right."""
    damaged = bytearray(valid)
    for at, value in cuts:
        damaged[at % len(damaged)] = value
    parse(bytes(damaged), length)


@FUZZ
@given(raw=st.binary(max_size=200), count=st.integers(0, 20))
def test_elements_are_split_exactly_or_not_at_all(raw: bytes, count: int) -> None:
    """What was split can be joined to what it was."""
    try:
        elements = split_elements(memoryview(raw), count)
    except MalformedRequestError:
        return
    assert join_elements(elements) == raw
    assert len(elements) == count


@settings(SLOW_FUZZ, max_examples=100)
@given(content=REQUESTS, raw=st.binary(max_size=64) | st.just(ONE_RAW))
async def test_no_request_is_a_server_error(content: Any, raw: bytes) -> None:
    """Through the whole path: an answer or a refusal, and the place is free again."""
    with a_bench() as bench:
        answer = await send(bench, content, raw)

        assert answer.status in {200, 400, 413, 415, 422}
        assert bench.admission.in_system == 0
