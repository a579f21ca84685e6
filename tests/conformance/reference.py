"""The colour classifier of the tests, served by Triton: a program of its own.

It runs in PyTriton's environment, so it imports nothing of ours. `colours` has our two inputs,
each optional; `pictures` has the one that a request without an object can be for.
"""

import io
import sys
from typing import Any

import numpy as np
from PIL import Image
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

SIDE = 32
NAMES = np.array([b"red", b"green", b"blue", b"dark"], dtype=object)
OUTPUTS = [
    Tensor(name="probabilities", dtype=np.float32, shape=(4,)),
    Tensor(name="labels", dtype=bytes, shape=(4,)),
]


def decode(content: bytes) -> Any:
    """Return a picture of one colour as the model wants it."""
    image = Image.open(io.BytesIO(content)).convert("RGB").resize((SIDE, SIDE))
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255


def infer(**inputs: Any) -> dict[str, Any]:
    """Classify."""
    pixels = inputs.get("input")
    if pixels is None:
        pixels = np.stack([decode(row[0]) for row in inputs["image"]])
    scores = np.full((pixels.shape[0], 4), 1.0, dtype=np.float32)
    scores[:, :3] = 10 * pixels.mean(axis=(2, 3))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return {
        "probabilities": probabilities,
        "labels": NAMES[np.argsort(probabilities, axis=1)[:, ::-1]],
    }


def main() -> None:
    """Serve until told to stop."""
    http, grpc, metrics = (int(word) for word in sys.argv[1:])
    config = TritonConfig(
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        http_address="127.0.0.1",
        grpc_address="127.0.0.1",
    )
    open_to_all = TritonSecurityConfig(restricted_endpoints=[])
    picture = Tensor(name="image", dtype=bytes, shape=(1,), optional=True)
    pixels = Tensor(name="input", dtype=np.float32, shape=(3, SIDE, SIDE), optional=True)
    batching = ModelConfig(max_batch_size=16)
    with Triton(config=config, security_config=open_to_all) as triton:
        triton.bind(
            "colours", batch(infer), inputs=[picture, pixels], outputs=OUTPUTS, config=batching
        )
        triton.bind(
            "pictures",
            batch(infer),
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=OUTPUTS,
            config=batching,
        )
        triton.serve()


if __name__ == "__main__":
    main()
