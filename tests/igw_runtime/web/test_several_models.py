"""Several models and versions behind one door: who asks for which gets it, and it is counted so."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from igw_runtime.engines.protocol import Batch
from igw_runtime.serving.lifecycle import State
from runtime_kit.asgi import Answer
from runtime_kit.bench import Bench, a_bench
from runtime_kit.colours import RED, picture
from runtime_kit.several import DARKER, OneAnswer, the_others

PNG = picture(RED)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a serving path with three models."""
    with a_bench(others=the_others()) as built:
        yield built


async def infer(bench: Bench, path: str, images: int = 1) -> Answer:
    """Send red pictures to a model."""
    data = [base64.b64encode(PNG).decode()] * images
    tensor = {"name": "image", "datatype": "BYTES", "shape": [images], "data": data}
    body = json.dumps({"inputs": [tensor]}).encode()
    return await bench.client.post(f"/v2/models/{path}/infer", body, "application/json")


def best_of(content: dict[str, Any]) -> str:
    """Return the best label of the first image."""
    return str(content["outputs"][1]["data"][0])


@pytest.mark.parametrize(
    ("path", "name", "version", "label"),
    [
        ("colours", "colours", "1", "red"),
        ("colours/versions/1", "colours", "1", "red"),
        ("colours/versions/2", "colours", "2", "dark"),
        ("shades", "shades", "7", "heavy"),
        ("shades/versions/7", "shades", "7", "heavy"),
    ],
)
async def test_whom_one_asks_is_who_answers(
    bench: Bench, path: str, name: str, version: str, label: str
) -> None:
    """By name, and by version where there is one; the answer says who it was."""
    content = (await infer(bench, path)).json()

    assert (content["model_name"], content["model_version"]) == (name, version)
    assert best_of(content) == label


@pytest.mark.parametrize("path", ["other", "colours/versions/7", "shades/versions/2"])
async def test_what_is_not_served_is_refused_before_it_is_read(bench: Bench, path: str) -> None:
    """Nobody waits for a body that nobody wants."""
    answer = await infer(bench, path)

    assert (answer.status, list(answer.json()), answer.chunks_read) == (404, ["error"], 0)


async def test_predict_is_the_defaults(bench: Bench) -> None:
    """The first model of the settings."""
    content = (await bench.client.post("/predict", PNG)).json()

    assert (content["model"], content["model_version"]) == ("colours", "1")
    assert content["prediction"] == "red"


async def test_v1_knows_names(bench: Bench) -> None:
    """Its protocol has no versions: a name's default answers."""
    body = json.dumps({"instances": [{"b64": base64.b64encode(PNG).decode()}]}).encode()
    listed = (await bench.client.get("/v1/models")).json()
    told = {}
    for name in listed["models"]:
        answer = await bench.client.post(f"/v1/models/{name}:predict", body, "application/json")
        told[name] = answer.json()["predictions"][0]["prediction"]
        ready = await bench.client.get(f"/v1/models/{name}")
        assert (ready.status, ready.json()) == (200, {"name": name, "ready": True})

    assert told == {"colours": "red", "shades": "heavy"}


async def test_metadata_is_that_of_the_model(bench: Bench) -> None:
    """Without a version it names all that there are; with one, that one."""
    whole = (await bench.client.get("/v2/models/colours")).json()
    second = (await bench.client.get("/v2/models/colours/versions/2")).json()
    other = (await bench.client.get("/v2/models/shades")).json()

    assert (whole["name"], whole["versions"]) == ("colours", ["1", "2"])
    assert (second["name"], second["versions"]) == ("colours", ["2"])
    assert (other["name"], other["versions"]) == ("shades", ["7"])
    assert [it["shape"] for it in other["outputs"]] == [[-1, 2], [-1, 2]]
    for path, status in (("shades/versions/7", 200), ("shades/versions/1", 404)):
        assert (await bench.client.get(f"/v2/models/{path}/ready")).status == status


async def test_the_index_lists_each_version(bench: Bench) -> None:
    """In the order of the settings."""
    listed = (await bench.client.post("/v2/repository/index", b"")).json()

    assert [(it["name"], it["version"], it["state"]) for it in listed] == [
        ("colours", "1", "READY"),
        ("colours", "2", "READY"),
        ("shades", "7", "READY"),
    ]


async def test_nobody_is_ready_before_all_are() -> None:
    """One probe speaks for all; names are known, versions are not."""
    with a_bench(others=the_others(), state=State.STARTING) as bench:
        listed = (await bench.client.post("/v2/repository/index", b"")).json()
        ready = [await bench.client.get(f"/v2/models/{it['name']}/ready") for it in listed]

    assert [(it["name"], it["state"]) for it in listed] == [
        ("colours", "UNAVAILABLE"),
        ("shades", "UNAVAILABLE"),
    ]
    assert [(it.status, it.json()["name"]) for it in ready] == [(503, "colours"), (503, "shades")]


async def test_statistics_are_of_each_version(bench: Bench) -> None:
    """Requests, images and passes are counted where they were done, and failures with them."""
    await bench.client.post("/predict", PNG)
    await infer(bench, "colours/versions/2", images=3)
    await infer(bench, "shades")
    await bench.client.post("/v2/models/shades/infer", b"{}", "application/json")
    counted = {
        path: {
            (it["name"], it["version"]): (
                it["inference_stats"]["success"]["count"],
                it["inference_stats"]["fail"]["count"],
                it["inference_count"],
                it["execution_count"],
                it["last_inference"] > 0,
            )
            for it in (await bench.client.get(f"/v2/models/{path}")).json()["model_stats"]
        }
        for path in ("stats", "colours/stats", "colours/versions/2/stats", "shades/stats")
    }

    first = {("colours", "1"): (1, 0, 1, 1, True)}
    second = {("colours", "2"): (1, 0, 3, 3, True)}
    shades = {("shades", "7"): (1, 1, 1, 1, True)}
    assert counted == {
        "stats": first | second | shades,
        "colours/stats": first | second,
        "colours/versions/2/stats": second,
        "shades/stats": shades,
    }
    for path in ("other/stats", "shades/versions/1/stats"):
        assert (await bench.client.get(f"/v2/models/{path}")).status == 404


async def test_metrics_tell_models_apart(bench: Bench) -> None:
    """The seed's by name, ours by version too; spans have both."""
    await infer(bench, "colours")
    await infer(bench, "colours/versions/2")
    await infer(bench, "shades")

    predictions = "model_predictions_total"
    assert bench.sample(predictions, model="colours", prediction_class="red") == 1
    assert bench.sample(predictions, model="colours", prediction_class="dark") == 1
    assert bench.sample(predictions, model="shades", prediction_class="heavy") == 1
    assert bench.sample("model_inference_duration_seconds_count", model="colours") == 2
    assert bench.sample("model_memory_usage_bytes", model="colours") == 2, "of both versions"
    for model, version in (("colours", "1"), ("colours", "2"), ("shades", "7")):
        assert bench.count_stage("infer", model, version) == 1
        own = {"model": model, "version": version}
        requests = "igw_runtime_model_request_duration_seconds_count"
        assert bench.sample(requests, status="2xx", **own) == 1
        assert bench.sample(requests, status="5xx", **own) == 0, "there from the start"
    served = [
        (span.attributes["inference.model.name"], span.attributes["inference.model.version"])
        for span in bench.spans.get_finished_spans()
        if span.name == "model_inference" and span.attributes
    ]
    assert served == [("colours", "1"), ("colours", "2"), ("shades", "7")]


async def test_an_engine_that_breaks_harms_its_own_model_only() -> None:
    """The others go on."""

    class BrokenAnswer(OneAnswer):
        """An engine that fails."""

        def infer(self, batch: Batch) -> Batch:
            message = f"broken by {len(batch)}"
            raise RuntimeError(message)

    with a_bench(others={DARKER: BrokenAnswer(winner=0, classes=4)}) as bench:
        broken = await infer(bench, "colours/versions/2")
        sound = await infer(bench, "colours")

    assert (broken.status, sound.status) == (500, 200)
