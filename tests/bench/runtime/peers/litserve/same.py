"""LitServe around our engine: one worker process a core, as its documentation advises for CPUs."""

from __future__ import annotations

import base64
from typing import Any

import litserve

from bench.runtime.peers.bounds import CORES, DEADLINE_SECONDS, PORT
from bench.runtime.peers.engine import Classifier


class ClassifierApi(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:  # noqa: ARG002
        self._classifier = Classifier(streams=1)

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def predict(self, picture: bytes) -> dict[str, Any]:
        return self._classifier.classify(picture)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        ClassifierApi(),
        accelerator="cpu",
        workers_per_device=CORES,
        timeout=DEADLINE_SECONDS,
    )
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False)
