"""LitServe as "Image classification" and "Quick start" of its documentation show it."""

from __future__ import annotations

import base64
import io
from typing import Any

import litserve
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50

from bench.runtime.peers.bounds import PORT


class ClassifierApi(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self._transforms = ResNet50_Weights.DEFAULT.transforms()
        self._model = resnet50(weights=None).eval().to(device)

    def decode_request(self, request: dict[str, str]) -> Any:
        image = Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        return self._transforms(image).unsqueeze(0)

    def predict(self, images: Any) -> Any:
        with torch.inference_mode():
            return self._model(images).argmax(dim=1)

    def encode_response(self, output: Any) -> dict[str, int]:
        return {"output": int(output[0])}


if __name__ == "__main__":
    server = litserve.LitServer(ClassifierApi(), accelerator="cpu")
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False)
