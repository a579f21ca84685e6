"""The golden check: one image whose scores are known, run before the process calls itself ready.

It catches what a digest cannot: a wrong precision, a broken library, labels or preprocessing that
do not belong to the weights. The image is drawn from a seed, so packages need no photograph.
"""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from igw_runtime.models.manifest import Golden, Precision

GOLDEN_SEED: Final = 7
TOLERANCE: Final[dict[Precision, float]] = {"fp32": 0.01, "fp16": 0.02, "bf16": 0.08, "int8": 0.1}
Scores = NDArray[np.float32]


def draw_golden_image(side: int = 320) -> bytes:
    """Return a PNG of smooth coloured noise: compressible, with detail at every scale."""
    random = np.random.default_rng(GOLDEN_SEED)
    canvas = np.zeros((side, side, 3), dtype=np.float64)
    for cells in (4, 8, 16, 32):
        noise = random.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        layer = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
        canvas += np.asarray(layer, dtype=np.float64) / 4
    buffer = io.BytesIO()
    Image.fromarray(canvas.astype(np.uint8)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def build_golden(scores: Scores, top: int = 10) -> Golden:
    """State what the image must score: its best classes, from the reference run."""
    order = np.argsort(scores)[::-1][:top]
    return Golden(
        indices=[int(index) for index in order],
        logits=[round(float(scores[index]), 5) for index in order],
        tolerance=dict(TOLERANCE),
    )


def check_golden(golden: Golden, scores: Scores, precision: str) -> str:
    """Return what is wrong, or an empty string."""
    known = _as_precision(precision)
    allowed = golden.tolerance.get(known, TOLERANCE[known])
    if max(golden.indices) >= scores.shape[0]:
        return f"the model has {scores.shape[0]} classes, its package expects more"
    expected = np.asarray(golden.logits, dtype=np.float32)
    actual = scores[golden.indices]
    scale = max(float(np.abs(expected).max()), 1e-6)
    deviation = float(np.abs(actual - expected).max()) / scale
    if not np.isfinite(deviation) or deviation > allowed:
        hint = "; int8 goes wrong on CPUs without VNNI" if known == "int8" else ""
        return (
            f"golden image scores deviate by {deviation:.4f} of the largest, "
            f"{allowed} is allowed in {precision}{hint}"
        )
    return ""


def _as_precision(name: str) -> Precision:
    known: dict[str, Precision] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}
    return known.get(name, "int8")
