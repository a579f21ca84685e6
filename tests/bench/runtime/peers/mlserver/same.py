"""MLServer around our engine: one inference worker a core ("Parallel Inference")."""

from __future__ import annotations

import json

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench.runtime.peers.engine import Classifier


class ClassifierModel(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self._classifier = Classifier(streams=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [picture] = Base64Codec.decode_input(payload.inputs[0])
        found = json.dumps(self._classifier.classify(picture))
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("output", [found])]
        )
