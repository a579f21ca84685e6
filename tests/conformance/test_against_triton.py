"""The same requests to our server and to Triton: the same answers, or a difference with a reason.

Where both refuse, the statuses may differ: Triton has 400, and 500 for what does not parse; ours
say more. What clients see of a refusal, `{"error": str}`, may not differ.
"""

import gzip
import json
import struct
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from conformance.pair import Pair
from runtime_kit.colours import BLUE, GREEN, RED, SIDE, picture

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(120)]
MODEL = "/v2/models/colours"
INFER = f"{MODEL}/infer"
PIXELS = np.zeros((1, 3, SIDE, SIDE), dtype="<f4")
PIXELS[0, 2] = 1
RAW = PIXELS.tobytes()
FLAT = PIXELS.ravel().tolist()
SHAPE = list(PIXELS.shape)
BOTH = ["probabilities", "labels"]


def pixels(**changes: Any) -> dict[str, Any]:
    """Return the blue tensor, in JSON."""
    return {"name": "input", "datatype": "FP32", "shape": SHAPE, "data": FLAT} | changes


def raw_input(name: str, datatype: str, shape: Any, size: Any) -> dict[str, Any]:
    """Return an input whose data follows."""
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def pictures(*colours: tuple[int, int, int]) -> tuple[dict[str, Any], bytes]:
    """Return an image input, and the data that follows."""
    contents = [picture(colour) for colour in colours]
    raw = b"".join(struct.pack("<I", len(each)) + each for each in contents)
    return raw_input("image", "BYTES", [len(colours), 1], len(raw)), raw


def encode(content: Any, raw: bytes | None = None) -> tuple[bytes, dict[str, str]]:
    """Return body and headers; without raw data there is no header for its place."""
    head = json.dumps(content).encode()
    if raw is None:
        return head, {}
    return head + raw, {"Inference-Header-Content-Length": str(len(head))}


def wanted(**forms: bool | None) -> list[dict[str, Any]]:
    """Return outputs, each raw, in JSON, or as the request's default has it."""
    return [
        {"name": name} | ({} if raw is None else {"parameters": {"binary_data": raw}})
        for name, raw in forms.items()
    ]


IMAGE, IMAGE_RAW = pictures(RED)
BATCH, BATCH_RAW = pictures(RED, GREEN, BLUE)
TENSOR = raw_input("input", "FP32", SHAPE, len(RAW))
RAW_OUT = {"parameters": {"binary_data_output": True}}
JSON_OUT = {"parameters": {"binary_data_output": False}}


@pytest.mark.parametrize(
    ("content", "raw"),
    [
        pytest.param({"inputs": [pixels()]}, None, id="flat JSON"),
        pytest.param({"inputs": [pixels(data=PIXELS.tolist())]}, None, id="nested JSON"),
        pytest.param({"inputs": [pixels(data=[FLAT])]}, None, id="oddly nested JSON"),
        pytest.param({"id": "q", "inputs": [pixels()]}, None, id="id"),
        pytest.param({"id": "", "inputs": [pixels()]}, None, id="empty id"),
        pytest.param({"inputs": [pixels()], "outputs": wanted(labels=None)}, None, id="one output"),
        pytest.param({"inputs": [pixels()], "outputs": []}, None, id="no output named"),
        pytest.param({"inputs": [pixels()]} | RAW_OUT, None, id="JSON in, raw out"),
        pytest.param({"inputs": [TENSOR]}, RAW, id="raw tensor"),
        pytest.param({"inputs": [TENSOR]} | RAW_OUT, RAW, id="raw both ways"),
        pytest.param({"inputs": [IMAGE]}, IMAGE_RAW, id="raw picture"),
        pytest.param({"inputs": [BATCH]} | RAW_OUT, BATCH_RAW, id="raw pictures"),
        pytest.param(
            {"inputs": [BATCH], "outputs": wanted(probabilities=True, labels=None)},
            BATCH_RAW,
            id="one output raw",
        ),
        pytest.param(
            {"inputs": [BATCH], "outputs": wanted(labels=True)} | JSON_OUT,
            BATCH_RAW,
            id="an output against the default",
        ),
        pytest.param({"inputs": [pixels()]}, b"", id="JSON with a length header"),
        pytest.param(
            {"inputs": [pixels()], "parameters": {"timeout": 0}}, None, id="timeout of zero"
        ),
        pytest.param(
            {"inputs": [pixels()], "parameters": {"timeout": 30_000_000}}, None, id="timeout"
        ),
        pytest.param(
            {"inputs": [pixels()], "parameters": {"unheard_of": "x"}}, None, id="other parameter"
        ),
    ],
)
def test_answers_are_the_same(pair: Pair, content: Any, raw: bytes | None) -> None:
    """Values, types, shapes, order, form, id and names."""
    body, headers = encode(content, raw)
    for path in (INFER, f"{MODEL}/versions/1/infer"):
        ours, theirs = pair.ask("POST", path, body, headers)

        assert (ours.status, theirs.status) == (200, 200), theirs.content
        assert ours.outputs() == theirs.outputs()
        assert list(ours.outputs()) == list(theirs.outputs())
        for key in ("id", "model_name", "model_version"):
            assert ours.json().get(key) == theirs.json().get(key)


def test_default_form_differs_for_named_outputs(pair: Pair) -> None:
    """`binary_data_output` is for all outputs that do not say otherwise.

    So says the extension's text; Triton forgets it for outputs that are named. The answer says
    which form it has.
    """
    outputs = wanted(probabilities=False, labels=None)
    body, headers = encode({"inputs": [BATCH], "outputs": outputs} | RAW_OUT, BATCH_RAW)
    ours, theirs = (said.outputs() for said in pair.ask("POST", INFER, body, headers))

    assert (ours["labels"][-1], theirs["labels"][-1]) == (True, False)
    assert ours["labels"][:-1] == theirs["labels"][:-1]
    assert ours["probabilities"] == theirs["probabilities"]


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "JSON"])
def test_values_that_are_no_numbers_differ(pair: Pair, *, raw: bool) -> None:
    """Triton infers from NaN, and answers with text that is no JSON. We refuse."""
    nothing = np.full_like(PIXELS, np.nan)
    content = {"inputs": [TENSOR if raw else pixels(data=nothing.ravel().tolist())]}
    ours, theirs = pair.ask("POST", INFER, *encode(content, nothing.tobytes() if raw else None))

    assert theirs.status == 200
    assert b"NaN" in theirs.content
    assert (ours.status, ours.is_refusal()) == (400, True)


def test_compression_is_the_same(pair: Pair) -> None:
    """Both ways."""
    body, headers = encode({"inputs": [BATCH]} | RAW_OUT, BATCH_RAW)
    headers |= {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    ours, theirs = pair.ask("POST", INFER, gzip.compress(body), headers)

    assert (ours.status, theirs.status) == (200, 200)
    assert ours.outputs() == theirs.outputs()


def test_request_without_an_object_is_the_same(pair: Pair) -> None:
    """The body is the one element of the one input, and the outputs are raw.

    Ours has two inputs of which one is used, so it takes the picture; the reference is asked for a
    model that has no other.
    """
    headers = {"Inference-Header-Content-Length": "0"}
    ours = pair.ours.ask("POST", INFER, picture(BLUE), headers)
    theirs = pair.theirs.ask("POST", "/v2/models/pictures/infer", picture(BLUE), headers)

    assert (ours.status, theirs.status) == (200, 200), theirs.content
    assert ours.outputs() == theirs.outputs()


@pytest.mark.parametrize(
    ("content", "raw"),
    [
        pytest.param([], None, id="no object"),
        pytest.param({}, None, id="no inputs"),
        pytest.param({"inputs": []}, None, id="empty inputs"),
        pytest.param({"inputs": [pixels(), pixels()]}, None, id="input twice"),
        pytest.param({"inputs": [pixels(name="x")]}, None, id="unknown input"),
        pytest.param({"inputs": [pixels(datatype="INT8")]}, None, id="wrong type"),
        pytest.param({"inputs": [pixels(datatype="FP16")]}, None, id="half precision in JSON"),
        pytest.param({"inputs": [pixels(datatype="FP8")]}, None, id="unknown type"),
        pytest.param({"inputs": [pixels(shape=[1, 3, 5, 5])]}, None, id="wrong shape"),
        pytest.param({"inputs": [pixels(shape=[2, 3, SIDE, SIDE])]}, None, id="too few elements"),
        pytest.param({"inputs": [pixels(data=[*FLAT, 1.0])]}, None, id="too many elements"),
        pytest.param({"inputs": [pixels(shape=[-1, 3, SIDE, SIDE])]}, None, id="negative"),
        pytest.param({"inputs": [pixels(shape=[2**62, 3, SIDE, SIDE])]}, None, id="overflow"),
        pytest.param({"inputs": [pixels(shape=[1.5, 3, SIDE, SIDE])]}, None, id="fraction"),
        pytest.param({"inputs": [pixels(shape="x")]}, None, id="shape in words"),
        pytest.param({"inputs": [pixels(data=["x"] * len(FLAT))]}, None, id="text as numbers"),
        pytest.param({"inputs": [pixels()], "outputs": wanted(x=None)}, None, id="unknown output"),
        pytest.param({"inputs": [TENSOR]}, RAW[:-1], id="one byte too few"),
        pytest.param({"inputs": [TENSOR]}, RAW + b"x", id="one byte too many"),
        pytest.param({"inputs": [TENSOR]}, None, id="raw data without the header"),
        pytest.param(
            {"inputs": [raw_input("input", "FP32", SHAPE, len(RAW) - 4)]}, RAW[:-4], id="small"
        ),
        pytest.param({"inputs": [raw_input("input", "FP32", SHAPE, "x")]}, RAW, id="size in words"),
        pytest.param({"inputs": [IMAGE | {"shape": [2, 1]}]}, IMAGE_RAW, id="two of one picture"),
        pytest.param(
            {"inputs": [IMAGE]}, b"\xff\xff\xff\xff" + IMAGE_RAW[4:], id="endless picture"
        ),
        pytest.param(
            {"inputs": [pictures(*[RED] * 200)[0]]}, pictures(*[RED] * 200)[1], id="large batch"
        ),
    ],
)
def test_both_refuse_in_the_same_form(pair: Pair, content: Any, raw: bytes | None) -> None:
    """Neither serves it, and clients can parse both refusals."""
    ours, theirs = pair.ask("POST", INFER, *encode(content, raw))

    assert theirs.status != 200
    assert theirs.is_refusal(), theirs.content
    assert ours.is_refusal(), ours.content
    assert ours.status < 500 or theirs.status >= 500


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {}, id="no body"),
        pytest.param(b"{", {}, id="half an object"),
        pytest.param(b"{}", {"Inference-Header-Content-Length": "9"}, id="length too large"),
        pytest.param(b"{}", {"Inference-Header-Content-Length": "x"}, id="length in words"),
        pytest.param(b"\x1f\x8b", {"Content-Encoding": "gzip"}, id="broken gzip"),
    ],
)
def test_both_refuse_what_is_no_message(pair: Pair, body: bytes, headers: dict[str, str]) -> None:
    """Neither crashes, and clients can parse both refusals."""
    ours, theirs = pair.ask("POST", INFER, body, headers)

    assert theirs.is_refusal(), theirs.content
    assert ours.is_refusal(), ours.content
    assert 400 <= ours.status < 500


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", f"{MODEL}/ready"),
        ("GET", f"{MODEL}/versions/1/ready"),
        ("GET", "/v2"),
        ("GET", MODEL),
        ("GET", f"{MODEL}/versions/1"),
        ("GET", f"{MODEL}/stats"),
        ("GET", f"{MODEL}/versions/1/stats"),
        ("GET", "/v2/models/stats"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_questions_are_answered_alike(pair: Pair, method: str, path: str) -> None:
    """By status; what is in the answers is compared below."""
    ours, theirs = pair.ask(method, path)

    assert (ours.status, theirs.status) == (200, 200)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/x"),
        ("GET", f"{MODEL}/versions/9"),
        ("GET", "/v2/models/x/ready"),
        ("GET", f"{MODEL}/versions/9/ready"),
        ("GET", "/v2/models/x/stats"),
        ("POST", "/v2/models/x/infer"),
        ("POST", f"{MODEL}/versions/9/infer"),
        ("GET", "/v2/x"),
    ],
)
def test_what_is_not_there_is_refused_alike(pair: Pair, method: str, path: str) -> None:
    """Triton has 400 for some of it; the protocol has 404 for all. Readiness is a status alone."""
    ours, theirs = pair.ask(method, path, b'{"inputs": []}' if method == "POST" else b"")

    assert theirs.status != 200
    assert (ours.status, ours.is_refusal()) == (404, True)


def test_metadata_is_the_same(pair: Pair) -> None:
    """Names, types and shapes; a picture is `[n]` where Triton has to have `[n, 1]`."""
    ours, theirs = (said.json() for said in pair.ask("GET", MODEL))

    assert ours["inputs"][0].pop("shape") == [-1]
    assert theirs["inputs"][0].pop("shape") == [-1, 1]
    for key in ("name", "versions", "inputs", "outputs"):
        assert ours[key] == theirs[key]
    assert set(theirs) <= set(ours)


def test_our_extensions_are_triton_s(pair: Pair) -> None:
    """What is advertised has the name that clients look for."""
    ours, theirs = (said.json() for said in pair.ask("GET", "/v2"))

    assert set(ours) == set(theirs)
    assert set(ours["extensions"]) < set(theirs["extensions"])


def test_statistics_have_the_same_form(pair: Pair) -> None:
    """The same fields, of the same types; `memory_usage` and `response_stats` are Triton's own."""
    pair.ask("POST", INFER, *encode({"inputs": [TENSOR]}, RAW))
    ours, theirs = (said.json()["model_stats"][0] for said in pair.ask("GET", f"{MODEL}/stats"))

    assert set(theirs) - set(ours) <= {"memory_usage", "response_stats"}
    assert set(ours["inference_stats"]) == set(theirs["inference_stats"])
    assert set(ours["batch_stats"][0]) == set(theirs["batch_stats"][0])
    assert set(ours["inference_stats"]["success"]) == set(theirs["inference_stats"]["success"])
    assert type(ours["last_inference"]) is type(theirs["last_inference"])


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
@pytest.mark.parametrize("kit", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_tritons_client_sees_no_difference(pair: Pair, kit: Any, colour: Any) -> None:
    """The same calls of the same client, over both transports."""
    seen = []
    for server in (pair.ours, pair.theirs):
        port = server.http if kit is triton_http else server.grpc
        with kit.InferenceServerClient(f"127.0.0.1:{port}") as client:
            tensor = kit.InferInput("image", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[picture(colour)]], dtype=object))
            result = client.infer("colours", [tensor], request_id="q")
            seen.append({name: result.as_numpy(name) for name in BOTH})

    ours, theirs = seen
    np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], atol=1e-5)
    assert ours["labels"].tolist() == theirs["labels"].tolist()
    assert {name: value.dtype for name, value in ours.items()} == {
        name: value.dtype for name, value in theirs.items()
    }


def fail(client: Any, case: str) -> None:
    """Make one call that cannot succeed."""
    tensor = triton_grpc.InferInput("input", SHAPE, "FP32")
    tensor.set_data_from_numpy(PIXELS)
    if case == "model":
        client.infer("x", [tensor])
    elif case == "version":
        client.infer("colours", [tensor], model_version="9")
    elif case == "input":
        client.infer("colours", [triton_grpc.InferInput("x", [1], "FP32")])
    elif case == "output":
        client.infer("colours", [tensor], outputs=[triton_grpc.InferRequestedOutput("x")])
    elif case == "metadata":
        client.get_model_metadata("x")
    else:
        tensor._raw_content = b"few"
        client.infer("colours", [tensor])


@pytest.mark.parametrize("case", ["model", "version", "input", "output", "metadata", "size"])
def test_grpc_refusals_have_the_same_code(pair: Pair, case: str) -> None:
    """So that retry policies treat both alike."""
    codes = []
    for server in (pair.ours, pair.theirs):
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
            with pytest.raises(InferenceServerException) as caught:
                fail(client, case)
            codes.append(caught.value.status())

    assert codes[0] == codes[1]
