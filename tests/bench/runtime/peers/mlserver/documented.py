"""MLServer as "Custom Inference Runtimes" of its documentation shows one."""

from __future__ import annotations

import io

import numpy as np
import torch
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50


class ClassifierModel(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self._transforms = ResNet50_Weights.DEFAULT.transforms()
        self._model = resnet50(weights=None).eval()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [picture] = Base64Codec.decode_input(payload.inputs[0])
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        with torch.inference_mode():
            scores = self._model(self._transforms(image).unsqueeze(0))
        found = np.array([[int(scores[0].argmax())]])
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("output", found)]
        )
