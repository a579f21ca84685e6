"""KServe's SDK around our engine.

A `predict` that is no coroutine blocks its event loop, and so its health checks: this one hands
the work to one thread a core. Pictures come by the binary tensor extension, as UINT8: binary BYTES
that are not UTF-8 are refused (0.21).
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kserve

from bench.runtime.peers.bounds import CORES
from bench.runtime.peers.engine import Classifier


class ClassifierModel(kserve.Model):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._classifier = Classifier(streams=CORES)
        self._threads = ThreadPoolExecutor(CORES)
        self.ready = True

    async def predict(
        self,
        payload: Any,
        headers: dict[str, str] | None = None,  # noqa: ARG002
        response_headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> Any:
        picture = payload.inputs[0].as_numpy().tobytes()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._classifier.classify, picture)
        output = kserve.InferOutput("output", [1], "BYTES", [json.dumps(found)])
        return kserve.InferResponse(payload.id or "", self.name, [output])


if __name__ == "__main__":
    kserve.ModelServer().start([ClassifierModel("classifier")])
