"""The model as requests, metrics and metadata see it: facts, no machinery."""

from dataclasses import dataclass

from igw_runtime.models.labels import Labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModel:
    """The loaded model, as requests and metadata see it; equal to itself only."""

    name: str
    version: str
    weights: str
    random_weights: bool
    engine: str
    precision: str
    device: str
    labels: Labels
    classes: int
    side: int
    probabilities: bool
    max_batch: int
    memory_bytes: int
