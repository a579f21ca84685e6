"""BentoML around our engine: one worker a core, and its documented bounds on time and number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

from bench.runtime.peers.bounds import CORES, DEADLINE_SECONDS
from bench.runtime.peers.engine import Classifier


@bentoml.service(
    workers=CORES,
    threads=1,
    traffic={"timeout": DEADLINE_SECONDS, "max_concurrency": 64},
)
class Service:
    def __init__(self) -> None:
        self._classifier = Classifier(streams=1)

    @bentoml.api  # type: ignore[untyped-decorator]
    def classify(self, image: Annotated[Path, ContentType("image/jpeg")]) -> dict[str, Any]:
        return self._classifier.classify(image.read_bytes())
