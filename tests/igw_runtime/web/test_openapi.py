import json
import re

from igw_runtime.web.openapi import build_document
from runtime_kit.bench import a_bench


async def test_every_route_is_described_and_every_description_is_routed() -> None:
    """The document and the router cannot drift apart."""
    with a_bench() as bench:
        for path, operations in build_document()["paths"].items():
            concrete = path.replace("{model}", "colours").replace("{version}", "1")
            for method in operations:
                answer = await bench.client.call(method.upper(), concrete)
                assert answer.status not in {404, 405}, (method, path)
                labels = {"method": method.upper(), "endpoint": path}
                answered = [
                    bench.sample("http_requests_total", status=status, **labels)
                    for status in ("2xx", "4xx", "5xx")
                ]
                assert max(answered) == 1, (method, path)
        routed = {route.path for route in bench.client.app._app.routes}  # type: ignore[attr-defined]
    assert routed - {"/openapi.json", "/docs"} == set(build_document()["paths"])


async def test_examples_are_answered() -> None:
    """Who copies one from the document gets a prediction."""
    with a_bench() as bench:
        examples = {
            path: operation["post"]["requestBody"]["content"]["application/json"].get("example")
            for path, operation in build_document()["paths"].items()
            if "post" in operation
        }
        for path, example in examples.items():
            if example is not None:
                concrete = path.replace("{model}", "colours").replace("{version}", "1")
                body = json.dumps(example).encode()
                answer = await bench.client.post(concrete, body, "application/json")
                assert (answer.status, b"red" in answer.body) == (200, True), path
    assert sum(example is not None for example in examples.values()) == 4


async def test_docs_page_is_self_contained() -> None:
    """The page works on a cluster without internet, and its policy forbids more."""
    with a_bench() as bench:
        page = await bench.client.get("/docs")
        document = await bench.client.get("/openapi.json")

    assert page.status == 200
    assert not re.search(r"(src|href)=\"https?://", page.body.decode())
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert document.json()["openapi"].startswith("3.")


async def test_stuck_engine_fails_liveness() -> None:
    """A hung inference is the one thing that only a restart cures."""
    with a_bench() as bench:
        bench.pool._busy_since[1] = -1e9
        answer = await bench.client.get("/health")

    assert (answer.status, answer.json()["status"]) == (503, "stuck")
