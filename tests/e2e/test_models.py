"""Several models in one gateway: the shipped one, and two versions of one that is fetched."""

from __future__ import annotations

import base64
import json

import pytest

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.kubectl import Kubectl
from harness.shell import ROOT, wait_for
from harness.store import FileStore

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
COFFEE = ROOT / "tests" / "pictures" / "coffee.jpg"
ASKED = ("efficientnet_lite0", "fetched/versions/1", "fetched/versions/2", "fetched")


def test_each_model_answers_under_its_own_name_and_version(
    gateway: Gateway, kubectl: Kubectl, namespace: str, client: Client
) -> None:
    """One is in the image, two come from a store; each is counted by name and version."""
    store = FileStore(kubectl, namespace)
    store.start(RUNTIME_IMAGE)
    sha256 = store.pack("efficientnet_lite0", "model.tar.gz")
    fetched = {"name": "fetched", "uri": f"{store.url}/model.tar.gz", "sha256": sha256}
    gateway.apply(
        additionalModels=[fetched | {"version": "2", "precision": "fp32"}, fetched],
    )
    gateway.wait_ready()

    body = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "BYTES",
                    "shape": [1],
                    "data": [base64.b64encode(COFFEE.read_bytes()).decode()],
                }
            ]
        }
    ).encode()
    answers = {}
    for path in ASKED:
        answer = client.post(
            f"{gateway.url}/v2/models/{path}/infer", body, content_type="application/json"
        )
        assert answer.status == 200, answer.body
        outputs = {it["name"]: it["data"] for it in answer.json["outputs"]}
        assert outputs["labels"][0] == "espresso"
        answers[path] = (answer.json["model_name"], answer.json["model_version"])

    assert answers == {
        "efficientnet_lite0": ("efficientnet_lite0", "1"),
        "fetched/versions/1": ("fetched", "1"),
        "fetched/versions/2": ("fetched", "2"),
        "fetched": ("fetched", "2"),
    }
    assert client.post(f"{gateway.url}/predict", COFFEE).json["model"] == "efficientnet_lite0"
    wait_for(
        "each model among the metrics",
        lambda: (
            counts(gateway)
            == {("efficientnet_lite0", "1"): 2, ("fetched", "1"): 1, ("fetched", "2"): 2}
        ),
        timeout_seconds=90,
        every_seconds=2,
    )


def counts(gateway: Gateway) -> dict[tuple[str, str], int]:
    """How many requests Prometheus knows of each model."""
    found = gateway.kubectl.prometheus(
        "sum by (model, version) (igw_runtime_model_request_duration_seconds_count"
        f'{{namespace="{gateway.namespace}",status="2xx"}})'
    )
    return {(it["metric"]["model"], it["metric"]["version"]): int(it["value"][1]) for it in found}
