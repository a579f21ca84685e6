"""A real, tiny classifier that tells colours apart, so that tests need neither torch nor weights.

Its scores are ten times the mean of each channel; `dark` wins below a constant. It exists twice:
as numpy for unit tests, and as an OpenVINO package for tests of engines and real processes.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from igw_runtime.engines.protocol import Batch
from igw_runtime.models.golden import build_golden, draw_golden_image
from igw_runtime.models.labels import Labels
from igw_runtime.models.manifest import Manifest, Preprocessing, Weights
from igw_runtime.models.preprocessing import Preprocessor
from igw_runtime.models.served import ServedModel

NAMES = ("red", "green", "blue", "dark")
SIDE = 32
PREPROCESSING = Preprocessing(resize=36, crop=SIDE, mean=[0.0] * 3, std=[1.0] * 3)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
DARK_SCORE = 1.0
SERVED = ServedModel(
    name="colours",
    version="1",
    weights="custom",
    random_weights=False,
    engine="openvino",
    precision="fp32",
    device="cpu",
    labels=Labels(NAMES),
    classes=len(NAMES),
    side=SIDE,
    probabilities=False,
    max_batch=1,
    memory_bytes=1,
)


class ColourSession:
    """The classifier in numpy."""

    def infer(self, batch: Batch) -> Batch:
        scores = np.full((batch.shape[0], len(NAMES)), DARK_SCORE, dtype=np.float32)
        scores[:, :3] = 10 * batch.mean(axis=(2, 3))
        return scores


def picture(
    colour: Any = RED,
    *,
    size: tuple[int, int] = (40, 40),
    mode: str = "RGB",
    kind: str = "PNG",
    **options: Any,
) -> bytes:
    """Return an encoded image of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


def write_package(folder: Path, **changes: Any) -> Path:
    """Write the classifier as an OpenVINO package; `changes` replace parts of its manifest."""
    import openvino  # noqa: PLC0415  only the tests that need it pay for it
    from openvino import opset13 as ops  # noqa: PLC0415

    folder.mkdir(parents=True)
    pixels = ops.parameter([-1, 3, SIDE, SIDE], np.float32, name="input")
    means = ops.reduce_mean(pixels, ops.constant([2, 3]), keep_dims=False)
    weights = np.hstack([np.eye(3) * 10, np.zeros((3, 1))]).astype(np.float32)
    bias = np.array([0, 0, 0, DARK_SCORE], dtype=np.float32)
    scores = ops.add(ops.matmul(means, ops.constant(weights), False, False), ops.constant(bias))
    openvino.save_model(
        openvino.Model([scores], [pixels]), folder / "model.xml", compress_to_fp16=False
    )
    (folder / "golden.png").write_bytes(draw_golden_image(64))
    (folder / "labels.txt").write_text("\n".join(NAMES) + "\n")
    manifest = build_manifest()
    (folder / "model.json").write_text(json.dumps(manifest.model_dump() | changes))
    return folder


def build_manifest() -> Manifest:
    """Describe the classifier as its package does."""
    image = Image.open(io.BytesIO(draw_golden_image(64))).convert("RGB")
    tensor = Preprocessor(PREPROCESSING)(image)
    return Manifest(
        name="colours",
        architecture="colours",
        formats=["openvino"],
        weights=Weights(source="custom"),
        preprocessing=PREPROCESSING,
        golden=build_golden(ColourSession().infer(tensor[None])[0]),
    )
