import asyncio
import base64
import gc
import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from igw_runtime.serving.lifecycle import State
from runtime_kit.bench import Bench, GatedSession, a_bench
from runtime_kit.colours import BLUE, RED, picture

PNG = picture(RED)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a serving path."""
    with a_bench() as built:
        yield built


async def test_answer_has_every_documented_field(bench: Bench) -> None:
    """The whole answer, field by field."""
    answer = await bench.client.post("/predict", PNG, **{"x-request-id": "abc-1"})
    content = answer.json()

    assert answer.status == 200
    assert content["request_id"] == answer.headers["x-request-id"] == "abc-1"
    assert re.fullmatch("[0-9a-f]{32}", content["trace_id"])
    assert (
        content["model"],
        content["model_version"],
        content["weights"],
    ) == ("colours", "1", "custom")
    assert content["prediction"] == "red"
    assert content["confidence"] == content["predictions"][0]["confidence"] > 0.99
    assert [p["class"] for p in content["predictions"]][:2] == ["red", "dark"]
    assert content["predictions"][0]["index"] == 0
    assert content["duration_ms"] > 0


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(PNG, {"content-type": "image/png"}, id="raw image"),
        pytest.param(PNG, {"content-type": "application/octet-stream"}, id="octet-stream"),
        pytest.param(PNG, {"content-type": "application/x-www-form-urlencoded"}, id="curl"),
        pytest.param(FORM, {"content-type": "multipart/form-data; boundary=b"}, id="form"),
        pytest.param(
            json.dumps({"image": base64.b64encode(PNG).decode()}).encode(),
            {"content-type": "application/json"},
            id="json",
        ),
        pytest.param(
            gzip.compress(PNG), {"content-type": "image/png", "content-encoding": "gzip"}, id="gz"
        ),
    ],
)
async def test_every_envelope_is_accepted(
    bench: Bench, body: bytes, headers: dict[str, str]
) -> None:
    """Raw, form, JSON and gzip give the same prediction."""
    answer = await bench.client.post("/predict", body, **headers)

    assert (answer.status, answer.json()["prediction"]) == (200, "red")


async def test_chunked_body_is_accepted(bench: Bench) -> None:
    """A body without a length is read to its end."""
    answer = await bench.client.call(
        "POST",
        "/predict",
        chunks=[PNG[:50], PNG[50:]],
        headers={"transfer-encoding": "chunked"},
    )

    assert answer.status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "slug"),
    [
        pytest.param(b"", {}, 400, "no-body", id="no body"),
        pytest.param(b"{", {"content-type": "application/json"}, 400, "malformed-request", id="j"),
        pytest.param(PNG, {"x-request-timeout-ms": "soon"}, 400, "malformed-request", id="t"),
        pytest.param(PNG, {"content-length": "many"}, 400, "malformed-request", id="length"),
        pytest.param(PNG, {"content-length": "9" * 40}, 413, "body-too-large", id="huge length"),
        pytest.param(b"x" * 5000, {}, 413, "body-too-large", id="too many bytes"),
        pytest.param(
            gzip.compress(b"\0" * 100_000),
            {"content-encoding": "gzip"},
            413,
            "body-too-large",
            id="gzip bomb",
        ),
        pytest.param(picture(RED, size=(200, 200)), {}, 413, "too-many-pixels", id="pixels"),
        pytest.param(PNG, {"content-type": "text/plain"}, 415, "unsupported-format", id="type"),
        pytest.param(PNG, {"content-encoding": "br"}, 415, "unsupported-format", id="encoding"),
        pytest.param(picture(RED, kind="BMP"), {}, 413, "body-too-large", id="large bmp"),
        pytest.param(
            picture(RED, size=(9, 9), kind="BMP"), {}, 415, "unsupported-format", id="bmp"
        ),
        pytest.param(b"hello", {}, 415, "unsupported-format", id="not an image"),
        pytest.param(PNG[:60], {}, 422, "undecodable-image", id="truncated"),
    ],
)
async def test_bad_input_is_a_problem(
    body: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    """Each mistake has its status, its problem document and its counter."""
    with a_bench(max_body_bytes=4000, max_pixels=10_000) as bench:
        answer = await bench.client.post("/predict", body, **headers)
        problem = answer.json()

        assert status == answer.status == problem["status"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["type"] == f"urn:inference-gateway:problem:{slug}"
        assert set(problem) == {"type", "title", "status", "detail", "request_id"}
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert bench.sample("igw_runtime_rejected_requests_total", reason=slug) == 1
        assert requests(bench, f"{status // 100}xx") == 1
        assert bench.admission.in_system == 0


def requests(bench: Bench, status: str) -> float:
    """Return how many predict requests ended in this class."""
    labels = {"method": "POST", "endpoint": "/predict", "status": status}
    return bench.sample("http_requests_total", **labels)


async def test_oversized_body_is_refused_unread_but_drained(bench: Bench) -> None:
    """The refusal needs no body; reading on briefly keeps the client from losing the answer."""
    length = str(bench.client and 10**9)
    answer = await bench.client.call(
        "POST",
        "/predict",
        chunks=[b"x" * 100] * 3,
        headers={"content-length": length, "content-type": "image/png"},
    )

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert answer.chunks_read == 3


async def test_chunked_body_over_the_limit_is_cut_off() -> None:
    """Without a length the limit is enforced while reading."""
    with a_bench(max_body_bytes=100) as bench:
        answer = await bench.client.call(
            "POST",
            "/predict",
            chunks=[b"x" * 60] * 4,
            headers={"transfer-encoding": "chunked"},
        )

    assert answer.status == 413


async def test_slow_body_times_out() -> None:
    """A client that stalls gives its place back, and its connection."""
    with a_bench(body_timeout_seconds=0.05) as bench:
        answer = await bench.client.call(
            "POST", "/predict", chunks=[b"x"], headers={"content-length": "5"}, stall=True
        )

        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert bench.admission.in_system == 0


@pytest.mark.parametrize(
    ("state", "slug"), [(State.STARTING, "not-ready"), (State.STOPPING, "stopping")]
)
@pytest.mark.pain(10)
async def test_no_work_is_taken_before_ready_or_after_drain(state: State, slug: str) -> None:
    """Outside its serving phases the process says so at once, body unread."""
    with a_bench(state=state) as bench:
        answer = await bench.client.post("/predict", PNG)

    assert answer.status == 503
    assert answer.json()["type"].endswith(slug)
    assert answer.headers["retry-after"] == "1"
    assert answer.chunks_read == 0


async def test_draining_still_serves_and_closes() -> None:
    """Until endpoints are withdrawn requests are answered, and clients sent elsewhere."""
    with a_bench(state=State.DRAINING) as bench:
        answer = await bench.client.post("/predict", PNG)

    assert (answer.status, answer.headers["connection"]) == (200, "close")


class Busy:
    """A bench whose one worker is held."""

    def __init__(self, **settings: Any) -> None:
        self.session = GatedSession()
        self.context = a_bench(session=self.session, **settings)
        self.first: asyncio.Task[Any]

    async def __aenter__(self) -> Bench:
        bench = self.context.__enter__()
        self.first = asyncio.create_task(bench.client.post("/predict", PNG))
        assert await asyncio.to_thread(self.session.entered.wait, 5)
        return bench

    async def __aexit__(self, *_: object) -> None:
        self.session.gate.set()
        assert (await self.first).status == 200
        self.context.__exit__(None, None, None)


async def test_full_queue_refuses_before_reading() -> None:
    """Overload costs a header: 503, Retry-After, body unread."""
    async with Busy(max_queue=1) as bench:
        waiting = asyncio.create_task(bench.client.post("/predict", PNG))
        await asyncio.sleep(0)  # admission happens in its first step
        assert bench.sample("inference_queue_size") == 2

        answer = await bench.client.post("/predict", PNG)

        assert (answer.status, answer.chunks_read) == (503, 0)
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"].endswith("queue-full")
        assert requests(bench, "5xx") == 1
    assert (await waiting).status == 200


async def test_queued_bytes_are_bounded() -> None:
    """Few large bodies fill the queue as many small ones do."""
    async with Busy(max_queue_bytes=len(PNG) + 1) as bench:
        answer = await bench.client.post("/predict", PNG)

    assert answer.json()["type"].endswith("queue-full")


async def test_chunked_body_reserves_the_limit_whatever_length_it_claims() -> None:
    """Transfer-Encoding overrides Content-Length, also where bytes are counted."""
    async with Busy(max_queue_bytes=len(PNG) + 100) as bench:
        headers = {"transfer-encoding": "chunked", "content-length": "1"}
        answer = await bench.client.call("POST", "/predict", chunks=[PNG], headers=headers)

    assert answer.json()["type"].endswith("queue-full")


async def test_deadline_that_the_queue_cannot_meet_is_refused_at_once() -> None:
    """Waiting in vain helps nobody."""
    async with Busy() as bench:
        bench.pool._mean_seconds = 3.0
        answer = await bench.client.post("/predict", PNG, **{"x-request-timeout-ms": "1000"})

    assert (answer.status, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["type"].endswith("deadline-unreachable")


async def test_late_answer_is_a_timeout() -> None:
    """The client's own deadline is kept, even while the engine is busy."""
    async with Busy(objective_seconds=None) as bench:
        answer = await bench.client.post("/predict", PNG, **{"x-request-timeout-ms": "30"})

        assert answer.status == 504
        assert requests(bench, "5xx") == 1
        assert bench.admission.in_system == 1


@pytest.mark.parametrize(
    ("given", "mean_seconds", "promised", "status", "counted"),
    [
        pytest.param(30, 0.0, 0.3, 504, "4xx", id="impatient"),
        pytest.param(30, 0.1, 0.3, 503, "4xx", id="impatient, and told at once"),
        pytest.param(30, 0.0, 0.03, 504, "5xx", id="as patient as is promised"),
        pytest.param(30, 0.0, None, 504, "5xx", id="nothing is promised"),
        pytest.param(30, 3.0, 0.3, 503, "5xx", id="impatient, but everybody waits"),
    ],
)
async def test_deadline_below_the_promise_is_the_clients_own(
    given: int, mean_seconds: float, promised: float | None, status: int, counted: str
) -> None:
    """As long as others are answered in time, a client may not spend the budget by a header."""
    async with Busy(objective_seconds=promised) as bench:
        bench.pool._mean_seconds = mean_seconds
        answer = await bench.client.post("/predict", PNG, **{"x-request-timeout-ms": str(given)})

        assert answer.status == status
        found = {kind: requests(bench, kind) for kind in ("2xx", "4xx", "5xx")}
        assert found == {"2xx": 0, "4xx": 0, "5xx": 0} | {counted: 1}
        slug = "deadline-exceeded" if status == 504 else "deadline-unreachable"
        assert bench.sample("igw_runtime_rejected_requests_total", reason=slug) == 1


async def test_full_queue_is_never_the_clients_own() -> None:
    """A short deadline excuses no overload."""
    async with Busy(objective_seconds=0.3, max_queue=1) as bench:
        waiting = asyncio.create_task(bench.client.post("/predict", PNG))
        await asyncio.sleep(0)
        answer = await bench.client.post("/predict", PNG, **{"x-request-timeout-ms": "30"})

        assert answer.json()["type"].endswith("queue-full")
        assert (requests(bench, "4xx"), requests(bench, "5xx")) == (0, 1)
    assert (await waiting).status == 200


async def test_wait_that_ends_early_leaves_no_loose_future() -> None:
    """Each request that timed out would be an error in the log, traceback and all."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    async with Busy() as bench:
        await bench.client.post("/predict", PNG, **{"x-request-timeout-ms": "30"})
    await asyncio.sleep(0)
    gc.collect()

    assert complaints == []


async def test_hang_up_abandons_the_work() -> None:
    """Nothing is computed for a client that left; it counts as its own error."""
    async with Busy() as bench:
        answer = await bench.client.call(
            "POST",
            "/predict",
            chunks=[PNG],
            headers={"content-length": str(len(PNG)), "content-type": "image/png"},
            hang_up=True,
        )
        assert answer.status == 0
        assert (requests(bench, "4xx"), requests(bench, "5xx")) == (1, 0)
    assert bench.sample("igw_runtime_abandoned_requests_total") == 1


async def test_hang_up_while_sending_is_the_clients_error(bench: Bench) -> None:
    """A body that breaks off is no server error."""
    answer = await bench.client.call(
        "POST", "/predict", headers={"content-length": "9"}, stall=True, hang_up=True
    )

    assert (answer.status, requests(bench, "4xx")) == (0, 1)


@pytest.mark.parametrize("given", ["a b", "x" * 129, "\nx", "é", "", "-x"])
async def test_bad_request_ids_are_replaced(bench: Bench, given: str) -> None:
    """What goes to logs and headers is short and harmless."""
    answer = await bench.client.post("/predict", PNG, **{"x-request-id": given})

    assert re.fullmatch("[0-9a-f-]{36}", answer.headers["x-request-id"])


async def test_other_methods_and_paths_are_problems(bench: Bench) -> None:
    """Wrong doors answer in the same language, and never as a label of their own."""
    wrong_method = await bench.client.get("/predict")
    wrong_path = await bench.client.get("/predict/../secret")
    probe = await bench.client.post("/health", b"")

    assert (wrong_method.status, wrong_method.headers["allow"]) == (405, "POST")
    assert (probe.status, probe.headers["allow"]) == (405, "GET, HEAD")
    assert wrong_path.status == 404
    labels = {"method": "GET", "status": "4xx"}
    assert bench.sample("http_requests_total", endpoint="_other", **labels) == 1
    assert bench.sample("http_requests_total", endpoint="/predict", **labels) == 1


async def test_concurrent_requests_do_not_mix(bench: Bench) -> None:
    """Every client gets its own picture's answer."""
    colours = [RED, BLUE] * 10
    answers = await asyncio.gather(
        *(bench.client.post("/predict", picture(colour)) for colour in colours)
    )

    expected = ["red" if colour == RED else "blue" for colour in colours]
    assert expected == [answer.json()["prediction"] for answer in answers]
