"""KServe's SDK as "Deploy Custom Python Serving Runtime" of its documentation shows AlexNet."""

from __future__ import annotations

import base64
import io
from typing import Any

import kserve
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50


class ClassifierModel(kserve.Model):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._transforms = ResNet50_Weights.DEFAULT.transforms()
        self._model = resnet50(weights=None).eval()
        self.ready = True

    def preprocess(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> Any:  # noqa: ARG002
        picture = base64.b64decode(payload["instances"][0]["image"]["b64"])
        return self._transforms(Image.open(io.BytesIO(picture)).convert("RGB")).unsqueeze(0)

    def predict(
        self,
        images: Any,
        headers: dict[str, str] | None = None,  # noqa: ARG002
        response_headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        with torch.inference_mode():
            scores = self._model(images)
        return {"predictions": [int(scores[0].argmax())]}


if __name__ == "__main__":
    kserve.ModelServer().start([ClassifierModel("classifier")])
