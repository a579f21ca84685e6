"""An RGB image to a normalised NCHW tensor, bit for bit as torchvision's presets do it.

Resize, centre crop and normalisation are Pillow and numpy only: torchvision stays out of the
serving image (docs/runtime.md). Nothing here does I/O.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from igw_runtime.models.manifest import Preprocessing

Tensor = NDArray[np.float32]

_RESAMPLING: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# The longer side is cut to this many shorter sides before resizing: a 1x50,000,000 image would
# otherwise be *enlarged* to gigabytes. Far outside the centre crop, so no result changes.
_MAX_ASPECT: Final = 8


class Preprocessor:
    """Turns decoded images into model input."""

    def __init__(self, settings: Preprocessing) -> None:
        self._resize = settings.resize
        self._crop = settings.crop
        self._resample = _RESAMPLING[settings.interpolation]
        mean = np.asarray(settings.mean, dtype=np.float32)
        std = np.asarray(settings.std, dtype=np.float32)
        self._scale = (1.0 / (255.0 * std)).reshape(3, 1, 1).astype(np.float32)
        self._shift = (-mean / std).reshape(3, 1, 1).astype(np.float32)

    @property
    def side(self) -> int:
        """The height and width of the model's input."""
        return self._crop

    def __call__(self, image: Image.Image) -> Tensor:
        """Return one (3, side, side) tensor."""
        pixels = np.asarray(self._crop_centre(self._resize_shorter(_bound_aspect(image))))
        tensor = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
        tensor *= self._scale
        tensor += self._shift
        return tensor

    def _resize_shorter(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if width <= height:
            size = (self._resize, int(self._resize * height / width))
        else:
            size = (int(self._resize * width / height), self._resize)
        return image if size == image.size else image.resize(size, self._resample)

    def _crop_centre(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        left = round((width - self._crop) / 2.0)
        top = round((height - self._crop) / 2.0)
        return image.crop((left, top, left + self._crop, top + self._crop))


def _bound_aspect(image: Image.Image) -> Image.Image:
    width, height = image.size
    limit = min(width, height) * _MAX_ASPECT
    if max(width, height) <= limit:
        return image
    left = max(0, (width - limit) // 2)
    top = max(0, (height - limit) // 2)
    return image.crop((left, top, left + min(width, limit), top + min(height, limit)))
