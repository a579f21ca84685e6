"""Which paths demand a token, and how each protocol says no."""

import json
from typing import Any

import pytest
from starlette.routing import Route, Router

from igw_runtime.errors import InvalidTokenError, KeysUnavailableError, MissingTokenError
from igw_runtime.web.app import OPEN_PATHS
from igw_runtime.web.middleware import RequestTelemetry
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import RED, picture

PNG = picture(RED)
CHALLENGE = 'Bearer error="invalid_token", error_description="no good"'


def check(authorization: str | None) -> None:
    """Know one token."""
    if authorization is None:
        message = "send a token"
        raise MissingTokenError(message, headers={"WWW-Authenticate": "Bearer"})
    if authorization == "Bearer unknown":
        message = "no keys"
        raise KeysUnavailableError(message, headers={"Retry-After": "5"})
    if authorization != "Bearer good":
        message = "no good"
        raise InvalidTokenError(message, headers={"WWW-Authenticate": CHALLENGE})


def list_routes(bench: Bench) -> list[tuple[str, str]]:
    """Return method and path of every route of the application."""
    application: Any = bench.client.app
    assert isinstance(application, RequestTelemetry)
    router = application._app
    assert isinstance(router, Router)
    endpoints: Any = [route for route in router.routes if isinstance(route, Route)]
    return [(method, it.path) for it in endpoints for method in it.app._methods]


async def test_everything_but_probes_and_the_description_demands_a_token() -> None:
    """A new route is protected unless somebody opens it."""
    with a_bench(check_token=check) as bench:
        refused: set[str] = set()
        served: set[str] = set()
        for method, path in list_routes(bench):
            answer = await bench.client.call(
                method, path.replace("{model}", "colours").replace("{version}", "1")
            )
            (refused if answer.status == 401 else served).add(path)

    assert served == OPEN_PATHS
    assert {"/predict", "/metrics", "/v2", "/v2/models/stats"} < refused


@pytest.mark.parametrize("path", ["/v2/models/colours/infer", "/v1/models/colours:predict"])
async def test_protocols_refuse_in_their_own_words(path: str) -> None:
    """Their clients parse exactly this."""
    with a_bench(check_token=check) as bench:
        answer = await bench.client.post(path, b"{}", authorization="Bearer bad")

    assert (answer.status, answer.json()) == (401, {"error": "no good"})
    assert answer.headers["www-authenticate"] == CHALLENGE


async def test_predict_refuses_with_a_problem_before_anything_is_read() -> None:
    """Nothing is admitted, nothing read, and the reason is counted."""
    with a_bench(check_token=check) as bench:
        missing = await bench.client.post("/predict", PNG)
        unknown = await bench.client.post("/predict", PNG, authorization="Bearer unknown")
        good = await bench.client.post("/predict", PNG, authorization="Bearer good")
        reasons = ("missing-token", "invalid-token", "keys-unavailable")
        counted = [bench.sample("igw_runtime_rejected_requests_total", reason=it) for it in reasons]

    assert (missing.status, missing.chunks_read) == (401, 0)
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.headers["www-authenticate"] == "Bearer"
    assert missing.json()["type"] == "urn:inference-gateway:problem:missing-token"
    assert (unknown.status, unknown.headers["retry-after"]) == (503, "5")
    assert (good.status, json.loads(good.body)["prediction"]) == (200, "red")
    assert counted == [1, 0, 1]


async def test_token_is_asked_for_before_the_size_of_the_body() -> None:
    """Who may not infer learns nothing of queues and limits."""
    with a_bench(check_token=check, max_body_bytes=10) as bench:
        answer = await bench.client.post("/predict", PNG)

    assert answer.status == 401


async def test_description_says_what_demands_a_token() -> None:
    """Where tokens are demanded; elsewhere it says nothing of them."""
    with a_bench(check_token=check) as bench:
        document = (await bench.client.get("/openapi.json")).json()
    with a_bench() as bench:
        plain = (await bench.client.get("/openapi.json")).json()

    opened = {
        path
        for path, operations in document["paths"].items()
        if any(operation.get("security") == [] for operation in operations.values())
    }
    assert opened == OPEN_PATHS - {"/openapi.json", "/docs"}
    assert document["security"] == [{"bearer": []}]
    assert "security" not in plain
