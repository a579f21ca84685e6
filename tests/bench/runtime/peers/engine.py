"""What every server of the first table is put around: our engine, our preprocessing, one model.

Imported in each peer's own environment, from this checkout: nobody's engine can be better.
"""

from __future__ import annotations

import os
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np

from bench.runtime.peers.preparation import Preparation
from igw_runtime.engines.openvino_engine import OpenVinoEngine
from igw_runtime.engines.protocol import Batch, EngineOptions, Session
from igw_runtime.models.artifact import read_package

_TOP: Final = 5


class Classifier:
    """An encoded picture in, the best classes out; any number of threads may call it."""

    def __init__(self, streams: int) -> None:
        """Open so many one-thread sessions, and warm them one after the other."""
        package = read_package(Path(os.environ["BENCH_PACKAGE"]))
        preset = package.manifest.preprocessing
        options = EngineOptions(
            precision=os.environ["BENCH_PRECISION"],
            threads=streams,
            streams=streams,
            # As our runtime does; but several processes would all be bound to the first core.
            pin_threads=streams > 1,
            max_batch=1,
            side=preset.crop,
        )
        self._labels = package.labels
        self.preparation = Preparation(preset)
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        engine = OpenVinoEngine(package, options)
        tensor = self.preparation.prepare(package.read_golden_image())
        for _ in range(streams):
            session = engine.open_session()
            session.infer(tensor[None])
            self._sessions.put(session)

    def infer(self, batch: Batch) -> Batch:
        """Run one batch on a session that is free."""
        session = self._sessions.get()
        try:
            return session.infer(batch)
        finally:
            self._sessions.put(session)

    def classify(self, picture: bytes) -> dict[str, Any]:
        """Return the five best classes."""
        scores = self.infer(self.preparation.prepare(picture)[None])[0]
        shifted = np.exp(scores - scores.max())
        shares = shifted / shifted.sum()
        best = [
            {"class": self._labels[int(index)], "confidence": round(float(shares[index]), 6)}
            for index in np.argsort(shares)[::-1][:_TOP]
        ]
        return {"prediction": best[0]["class"], "predictions": best}
