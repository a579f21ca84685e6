"""`model.json`: what a model package says about itself.

Written by `models.export`, read by `models.artifact`; the fields are documented in
docs/runtime.md because people write them by hand for models of their own.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["fp32", "bf16", "int8"]
Format = Literal["openvino", "torch"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Weights(_Part):
    """Where the numbers come from; random ones must never pass for trained ones."""

    source: Literal["imagenet", "random", "custom"]
    name: str = ""
    seed: int = 0

    @property
    def random(self) -> bool:
        """Tell whether the model's answers mean nothing."""
        return self.source == "random"

    def __str__(self) -> str:
        if self.random:
            return f"random(seed={self.seed})"
        return f"{self.source}({self.name})" if self.name else self.source


class Preprocessing(_Part):
    """Resize the shorter side, crop the centre, normalise."""

    resize: Annotated[int, Field(ge=8, le=4096)]
    crop: Annotated[int, Field(ge=8, le=4096)]
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Golden(_Part):
    """One image and the logits it must give; tolerances are relative to the largest logit."""

    image: str = "golden.png"
    indices: Annotated[list[int], Field(min_length=1)]
    logits: Annotated[list[float], Field(min_length=1)]
    tolerance: dict[Precision, float]

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.indices) != len(self.logits):
            message = f"{len(self.indices)} indices, but {len(self.logits)} logits"
            raise ValueError(message)
        return self


class Manifest(_Part):
    """The whole file."""

    name: str
    architecture: str
    version: str = "1"
    formats: Annotated[list[Format], Field(min_length=1)]
    precision: Precision = "fp32"
    output: Literal["logits", "probabilities"] = "logits"
    weights: Weights
    preprocessing: Preprocessing
    labels: str = "labels.txt"
    golden: Golden
