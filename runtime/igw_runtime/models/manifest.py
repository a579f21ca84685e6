"""`model.json`: what a model package says about itself.

Written by `models.export`, read by `models.artifact`; the fields are documented in
docs/runtime.md because people write them by hand for models of their own.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Format = Literal["openvino", "torch", "torchscript", "exported"]
PROGRAMS: Final[frozenset[Format]] = frozenset({"torchscript", "exported"})
"""Formats that are code, not only numbers: loading one can do anything that this process can."""
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Ratio = Annotated[float, Field(ge=0, le=1)]


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


class Pictures(_Part):
    """A folder of pictures; its digest is that of what `sha256sum` prints for them, by name."""

    count: Annotated[int, Field(ge=1)]
    sha256: _Sha256


class Gate(_Part):
    """What a quantised network was measured to be worth, beside fp32, before it was written.

    `agreement` is the share of pictures that both give the same best class; accuracies are over
    the `labelled` pictures, whose class is known.
    """

    applied: bool
    agreement: _Ratio
    min_agreement: _Ratio
    labelled: Annotated[int, Field(ge=0)] = 0
    accuracy_fp32: _Ratio | None = None
    accuracy_int8: _Ratio | None = None
    max_accuracy_drop: _Ratio


class Quantisation(_Part):
    """How the int8 weights were made, and by what they were let through."""

    method: str
    calibration: Pictures
    evaluation: Pictures
    gate: Gate


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
    quantisation: Quantisation | None = None
