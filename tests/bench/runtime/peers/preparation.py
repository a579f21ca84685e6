"""From an encoded picture to the tensor that a network takes, as our runtime does it."""

from __future__ import annotations

from typing import Final

from PIL import Image

from igw_runtime.models.decoding import DRAFT_FACTOR, ImageDecoder
from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.preprocessing import Preprocessor, Tensor

_MAX_PIXELS: Final = 50_000_000


class Preparation:
    """Decodes and preprocesses; any number of threads may call it."""

    def __init__(self, preset: Preprocessing) -> None:
        self._decoder = ImageDecoder(_MAX_PIXELS, draft_side=DRAFT_FACTOR * preset.resize)
        self._preprocessor = Preprocessor(preset)

    def prepare(self, picture: bytes) -> Tensor:
        """Decode and preprocess one picture."""
        return self.preprocess(self.decode(picture))

    def decode(self, picture: bytes) -> Image.Image:
        """Decode one picture, at a fraction of its size if it is large."""
        return self._decoder.decode(self._decoder.open(picture))

    def preprocess(self, image: Image.Image) -> Tensor:
        """Resize, crop and normalise."""
        return self._preprocessor(image)
