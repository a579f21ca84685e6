"""Pictures and presets whose tensors torchvision made once, for comparison bit by bit.

`make test-export` has torchvision and compares with it directly; there `IGW_UPDATE_GOLDEN=1`
writes the file that the unit tests compare with.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from igw_runtime.models.manifest import Preprocessing

GOLDEN_FILE: Final = Path(__file__).with_name("presets.npz")
_MEAN: Final = [0.485, 0.456, 0.406]
_STD: Final = [0.229, 0.224, 0.225]

PRESETS: Final[Mapping[str, Preprocessing]] = {
    "V2": Preprocessing(resize=29, crop=28, mean=_MEAN, std=_STD),
    "V1": Preprocessing(resize=32, crop=28, mean=_MEAN, std=_STD),
    "bicubic": Preprocessing(resize=32, crop=28, mean=_MEAN, std=_STD, interpolation="bicubic"),
    "halves": Preprocessing(resize=32, crop=27, mean=[0.5] * 3, std=[0.5] * 3),
    "padded": Preprocessing(resize=25, crop=28, mean=_MEAN, std=_STD),
    "lite": Preprocessing(resize=32, crop=28, mean=[127 / 255] * 3, std=[128 / 255] * 3),
    "levels": Preprocessing(resize=16, crop=16, mean=_MEAN, std=_STD),
}
"""The presets in use, at an eighth of their size so that the file stays small."""

CASES: Final[Mapping[str, tuple[str, tuple[int, int]]]] = {
    "landscape": ("V2", (500, 375)),
    "portrait": ("V1", (375, 500)),
    "as it has to be": ("V2", (29, 29)),
    "to be enlarged": ("V1", (7, 3)),
    "one pixel": ("V2", (1, 1)),
    "bicubic": ("bicubic", (333, 250)),
    "odd margins": ("halves", (100, 75)),
    "smaller than the crop": ("padded", (300, 200)),
    "lite": ("lite", (300, 200)),
    "eleven times as wide as high": ("V2", (777, 70)),
    "forty times as high as wide": ("V1", (33, 1325)),
    "every level of every channel": ("levels", (16, 16)),
}


def draw(size: tuple[int, int]) -> Image.Image:
    """Return noise; at 16x16, each channel has each of the 256 levels once."""
    random = np.random.default_rng(size)
    if size == (16, 16):
        planes = [random.permutation(256).reshape(16, 16) for _ in range(3)]
        return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)
