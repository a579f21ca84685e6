"""Models to serve beside the colour classifier: another version of it, and another model."""

from dataclasses import dataclass, field, replace

import numpy as np

from igw_runtime.engines.protocol import Batch
from igw_runtime.models.labels import Labels
from igw_runtime.models.served import ServedModel
from runtime_kit.colours import SERVED

DARKER = replace(SERVED, version="2")
"""The second version of `colours`, to which everything is dark."""
SHADES = replace(SERVED, name="shades", version="7", labels=Labels(("light", "heavy")), classes=2)
"""Another model, to which everything is heavy."""


@dataclass(slots=True)
class OneAnswer:
    """An engine that says the same of every picture, and notes the batches that it got."""

    winner: int
    classes: int
    batches: list[int] = field(default_factory=list)

    def infer(self, batch: Batch) -> Batch:
        self.batches.append(batch.shape[0])
        scores = np.zeros((batch.shape[0], self.classes), dtype=np.float32)
        scores[:, self.winner] = 10
        return scores


def the_others() -> dict[ServedModel, OneAnswer]:
    """Return both, with engines of their own."""
    return {DARKER: OneAnswer(winner=3, classes=4), SHADES: OneAnswer(winner=1, classes=2)}
