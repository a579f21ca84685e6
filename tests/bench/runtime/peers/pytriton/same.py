"""PyTriton around our engine: one instance a core ("Multi-instance model inference").

Triton bounds its queue, and drops who waited for too long, where its batcher is told to. Batches
are of one: on CPUs larger ones win nothing.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.model_config.common import QueuePolicy
from pytriton.triton import Triton, TritonConfig

from bench.runtime.peers.bounds import CORES, DEADLINE_SECONDS, PORT
from bench.runtime.peers.engine import Classifier


def build_instance(classifier: Classifier) -> Any:
    """Return what one instance calls for a list of requests."""

    def infer(requests: list[Any]) -> list[dict[str, Any]]:
        answers = []
        for request in requests:
            found = json.dumps(classifier.classify(request["image"].flat[0]))
            answers.append({"output": np.array([[found.encode()]], dtype=object)})
        return answers

    return infer


if __name__ == "__main__":
    shared = Classifier(streams=CORES)
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="classifier",
            infer_func=[build_instance(shared) for _ in range(CORES)],
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="output", dtype=bytes, shape=(1,))],
            config=ModelConfig(
                max_batch_size=1,
                batcher=DynamicBatcher(
                    default_queue_policy=QueuePolicy(
                        default_timeout_microseconds=DEADLINE_SECONDS * 1_000_000,
                        max_queue_size=64,
                    )
                ),
            ),
        )
        triton.serve()
