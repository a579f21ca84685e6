"""BentoML as "Create a BentoML Service" and "Input and output types" of its documentation show."""

from __future__ import annotations

import bentoml
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50


@bentoml.service
class Service:
    def __init__(self) -> None:
        self._transforms = ResNet50_Weights.DEFAULT.transforms()
        self._model = resnet50(weights=None).eval()

    @bentoml.api  # type: ignore[untyped-decorator]
    def classify(self, image: Image.Image) -> dict[str, int]:
        with torch.inference_mode():
            scores = self._model(self._transforms(image.convert("RGB")).unsqueeze(0))
        return {"output": int(scores[0].argmax())}
