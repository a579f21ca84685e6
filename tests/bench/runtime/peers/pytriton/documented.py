"""PyTriton as "Quick Start" and "Decorators" of its documentation show a model: with batches."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from torchvision.models import ResNet50_Weights, resnet50

from bench.runtime.peers.bounds import PORT

_transforms = ResNet50_Weights.DEFAULT.transforms()
_model = resnet50(weights=None).eval()


@batch  # type: ignore[untyped-decorator]
def infer(image: Any) -> dict[str, Any]:
    """Classify a batch of encoded pictures."""
    pictures = [Image.open(io.BytesIO(it[0])).convert("RGB") for it in image]
    with torch.inference_mode():
        scores = _model(torch.stack([_transforms(it) for it in pictures]))
    return {"output": scores.argmax(dim=1, keepdim=True).numpy().astype(np.int64)}


if __name__ == "__main__":
    config = TritonConfig(http_address="127.0.0.1", http_port=PORT)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="classifier",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="output", dtype=np.int64, shape=(1,))],
            config=ModelConfig(max_batch_size=8),
        )
        triton.serve()
