"""A model that is fetched before its gateway serves, and what is said if it cannot be."""

from __future__ import annotations

import pytest

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.kubectl import Json, Kubectl
from harness.shell import ROOT
from harness.store import FileStore

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
COFFEE = ROOT / "tests" / "pictures" / "coffee.jpg"


@pytest.fixture
def store(kubectl: Kubectl, namespace: str) -> FileStore:
    """A store in the test's namespace, with nothing in it."""
    store = FileStore(kubectl, namespace)
    store.start(RUNTIME_IMAGE)
    return store


def a_model(store: FileStore, file: str, sha256: str) -> Json:
    """A model of that name in the store."""
    return {"name": "fetched", "uri": f"{store.url}/{file}", "sha256": sha256}


def test_a_fetched_model_answers(gateway: Gateway, store: FileStore, client: Client) -> None:
    """Through DNS, the gateway's own network policy and the volume between the containers."""
    sha256 = store.pack("efficientnet_lite0", "model.tar.gz")
    gateway.apply(model=a_model(store, "model.tar.gz", sha256))
    gateway.wait_ready()

    answer = client.post(f"{gateway.url}/predict", COFFEE)

    assert answer.status == 200, answer.body
    assert answer.json["model"] == "fetched"
    assert answer.json["prediction"] == "espresso"


def test_an_object_that_appears_later_heals_the_gateway(gateway: Gateway, store: FileStore) -> None:
    """Until then REASON has the store's answer, and the command that shows more."""
    sha256 = store.pack("efficientnet_lite0", "other.tar.gz")
    gateway.apply(model=a_model(store, "model.tar.gz", sha256))
    ready = gateway.wait_reason("ModelNotFound")
    assert f"{store.url}/model.tar.gz: the server answers 404" in ready["message"]
    assert "-c fetch" in ready["message"]

    # Packed anew it would have another digest: an archive has the time in it.
    store.rename("other.tar.gz", "model.tar.gz")

    gateway.wait_ready(300)


def test_an_object_of_another_digest_is_not_served(gateway: Gateway, store: FileStore) -> None:
    """The server is not even started."""
    sha256 = store.pack("efficientnet_lite0", "model.tar.gz")
    gateway.apply(model=a_model(store, "model.tar.gz", "0" * 64))

    ready = gateway.wait_reason("ModelDigestMismatch")

    assert f"has sha256 {sha256}" in ready["message"]
    (pod,) = gateway.pods()
    (server,) = pod["status"]["containerStatuses"]
    assert server["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_secret_that_is_not_there_is_named(gateway: Gateway) -> None:
    """Nothing is asked for without the credentials that are meant."""
    gateway.apply(
        model={
            "name": "fetched",
            "uri": "s3://bucket/model.tar.gz",
            "credentials": {"secretName": "reader"},
        }
    )

    ready = gateway.wait_reason("CreateContainerConfigError")

    assert "reader" in ready["message"]
