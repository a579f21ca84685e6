import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igw_runtime.serving.lifecycle import State
from runtime_kit.asgi import Answer
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import BLUE, RED, SIDE, picture

PREDICT = "/v1/models/colours:predict"
TENSOR = np.zeros((3, SIDE, SIDE))
TENSOR[2] = 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a serving path."""
    with a_bench() as built:
        yield built


def encoded(colour: tuple[int, int, int]) -> dict[str, str]:
    """Return a picture as the protocol has bytes."""
    return {"b64": base64.b64encode(picture(colour)).decode()}


async def predict(bench: Bench, content: Any, path: str = PREDICT, **headers: str) -> Answer:
    """Send a prediction request."""
    body = json.dumps(content).encode()
    return await bench.client.post(path, body, "application/json", **headers)


async def test_every_instance_has_its_prediction(bench: Bench) -> None:
    """As many predictions as instances, in order, whatever form an instance has."""
    instances = [encoded(RED), {"image_bytes": encoded(BLUE)}, TENSOR.tolist(), encoded(RED)]
    answer = await predict(bench, {"instances": instances})
    content = answer.json()

    assert (answer.status, list(content)) == (200, ["predictions"])
    labels = [prediction["prediction"] for prediction in content["predictions"]]
    assert labels == ["red", "blue", "blue", "red"]
    first = content["predictions"][0]
    assert first["confidence"] == first["predictions"][0]["confidence"] > 0.99
    assert first["predictions"][0]["index"] == 0
    assert bench.admission.in_system == 0


async def test_a_prediction_says_what_predict_says(bench: Bench) -> None:
    """One picture has one truth, whichever door it came through."""
    own = (await bench.client.post("/predict", picture(RED))).json()
    [ours] = (await predict(bench, {"instances": [encoded(RED)]})).json()["predictions"]

    assert ours == {key: own[key] for key in ("prediction", "confidence", "predictions")}


async def test_compressed_request_and_answer(bench: Bench) -> None:
    """Gzip both ways."""
    body = gzip.compress(json.dumps({"instances": [encoded(RED)] * 8}).encode())
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    answer = await bench.client.post(PREDICT, body, "application/json", **headers)

    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["predictions"]) == 8


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([], id="not an object"),
        pytest.param({}, id="no instances"),
        pytest.param({"instances": []}, id="empty instances"),
        pytest.param({"instances": {"b64": "x"}}, id="instances is an object"),
        pytest.param({"instances": ["aGk="]}, id="bare string"),
        pytest.param({"instances": [7]}, id="number"),
        pytest.param({"instances": [None]}, id="null"),
        pytest.param({"instances": [{}]}, id="empty instance"),
        pytest.param({"instances": [{"b64": 7}]}, id="base64 is a number"),
        pytest.param({"instances": [{"b64": "%"}]}, id="not base64"),
        pytest.param({"instances": [{"b64": {"b64": "aGk="}}]}, id="b64 in b64"),
        pytest.param({"instances": [{"a": {"b64": "aGk="}, "b": 1}]}, id="two names"),
        pytest.param({"instances": [[[1, 2], [3]]]}, id="ragged tensor"),
        pytest.param({"instances": [[0.5] * 7]}, id="small tensor"),
        pytest.param({"instances": [encoded(RED)] * 70}, id="more than ever fit"),
    ],
)
async def test_bad_requests_are_400_in_the_protocols_form(bench: Bench, content: Any) -> None:
    """One key, `error`, with one string."""
    answer = await predict(bench, content)

    assert (answer.status, list(answer.json())) == (400, ["error"])
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    ("bad", "status", "says"),
    [
        pytest.param({"b64": "%"}, 400, "instance 1: ", id="envelope"),
        pytest.param({"b64": base64.b64encode(b"junk").decode()}, 415, "image 1: ", id="picture"),
    ],
)
async def test_one_bad_instance_is_named_and_fails_all(
    bench: Bench, bad: Any, status: int, says: str
) -> None:
    """The protocol has no partial answers."""
    answer = await predict(bench, {"instances": [encoded(RED), bad, encoded(RED)]})

    assert (answer.status, list(answer.json())) == (status, ["error"])
    assert answer.json()["error"].startswith(says)


async def test_models_are_listed_and_ready(bench: Bench) -> None:
    """Name and readiness, as KServe's probes ask."""
    listed = await bench.client.get("/v1/models")
    model = await bench.client.get("/v1/models/colours")

    assert listed.json() == {"models": ["colours"]}
    assert (model.status, model.json()) == (200, {"name": "colours", "ready": True})


async def test_model_that_is_not_ready_says_so() -> None:
    """503 for a probe, and nothing is predicted."""
    with a_bench(state=State.STARTING) as bench:
        model = await bench.client.get("/v1/models/colours")
        answer = await predict(bench, {"instances": [encoded(RED)]})

    assert (model.status, model.json()["ready"]) == (503, False)
    assert (answer.status, list(answer.json())) == (503, ["error"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/other"),
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v1/models/colours:explain/x"),
        ("GET", "/v1/other"),
    ],
)
async def test_what_is_not_here_is_404_in_the_protocols_form(
    bench: Bench, method: str, path: str
) -> None:
    """Unknown models and unknown paths alike."""
    answer = await bench.client.call(method, path)

    assert (answer.status, list(answer.json())) == (404, ["error"])


async def test_requests_are_counted_by_template(bench: Bench) -> None:
    """The label that SLO rules select, there at zero before the first request."""
    labels = {"method": "POST", "endpoint": "/v1/models/{model}:predict"}
    assert bench.sample("http_requests_total", status="5xx", **labels) == 0
    await predict(bench, {"instances": [encoded(RED)]})

    assert bench.sample("http_requests_total", status="2xx", **labels) == 1
    assert bench.sample("http_request_duration_seconds_count", status="2xx", **labels) == 1


async def test_instances_count_as_images() -> None:
    """A batch cannot smuggle more work past the queue's limit."""
    with a_bench(max_queue=2) as bench:
        bench.admission.reserve(1, 0)
        answer = await predict(bench, {"instances": [encoded(RED)] * 3})

        assert (answer.status, list(answer.json())) == (503, ["error"])
        assert bench.admission.in_system == 1


async def test_deadline_header_is_kept(bench: Bench) -> None:
    """As on every endpoint."""
    answer = await predict(
        bench, {"instances": [encoded(RED)]}, **{"x-request-timeout-ms": "never"}
    )

    assert answer.status == 400


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["b64", "image"]) | st.text(max_size=4), inner, max_size=2
        )
    ),
    max_leaves=10,
)


@pytest.mark.timeout(600)  # only a hang takes this long
@settings(max_examples=100)
@given(content=st.fixed_dictionaries({"instances": st.lists(ANYTHING, max_size=4)}) | ANYTHING)
async def test_no_request_is_a_server_error(content: Any) -> None:
    """Whatever JSON can say is answered or refused."""
    with a_bench() as bench:
        answer = await predict(bench, content)

        assert answer.status in {200, 400, 415, 422}
        assert bench.admission.in_system == 0
