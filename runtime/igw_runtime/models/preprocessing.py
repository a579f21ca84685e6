"""An RGB image to a normalised NCHW tensor, bit for bit as torchvision's presets do it.

Resize, centre crop and normalisation are Pillow and numpy only: torchvision stays out of the
serving image (docs/runtime.md). Every operation on floats is torchvision's, in its order: another
one that is equal on paper rounds differently. Nothing here does I/O.
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
_WHITE_LEVEL: Final = np.float32(255)
# The longer side is cut to this many shorter sides before resizing: a 1x50,000,000 image would
# otherwise be *enlarged* to gigabytes. What is cut is far outside the centre crop, but the rest may
# come to lie a fraction of a pixel off: where that matters, more is kept.
_MAX_ASPECT: Final = 8
_MAX_EXACT_ASPECT: Final = 256


class Preprocessor:
    """Turns decoded images into model input.

    `exact` is bit for bit as torchvision's preset also for pictures longer than eight times
    their width, of which the middle alone is resized otherwise.
    """

    def __init__(self, settings: Preprocessing, *, exact: bool = False) -> None:
        self._resize = settings.resize
        self._crop = settings.crop
        self._resample = _RESAMPLING[settings.interpolation]
        self._mean = np.asarray(settings.mean, dtype=np.float32)
        self._std = np.asarray(settings.std, dtype=np.float32)
        self._max_aspect = _MAX_EXACT_ASPECT if exact else _MAX_ASPECT

    @property
    def side(self) -> int:
        """The height and width of the model's input."""
        return self._crop

    def __call__(self, image: Image.Image) -> Tensor:
        """Return one (3, side, side) tensor."""
        image = self._resize_shorter(_bound_aspect(image, self._max_aspect))
        bands = self._crop_centre(image).split()
        tensor = np.empty((3, self._crop, self._crop), dtype=np.float32)
        for plane, band, mean, std in zip(tensor, bands, self._mean, self._std, strict=True):
            plane[...] = np.asarray(band)
            np.divide(plane, _WHITE_LEVEL, out=plane)
            np.subtract(plane, mean, out=plane)
            np.divide(plane, std, out=plane)
        return tensor

    def _resize_shorter(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if width <= height:
            size = (self._resize, int(self._resize * height / width))
        else:
            size = (int(self._resize * width / height), self._resize)
        return image if size == image.size else image.resize(size, self._resample)

    def _crop_centre(self, image: Image.Image) -> Image.Image:
        left, top = (_find_margin(side, self._crop) for side in image.size)
        return image.crop((left, top, left + self._crop, top + self._crop))


def _find_margin(side: int, crop: int) -> int:
    """Return where a crop begins; before the image if that is smaller, and gets black borders."""
    return round((side - crop) / 2.0) if side >= crop else -((crop - side) // 2)


def _bound_aspect(image: Image.Image, most: int) -> Image.Image:
    width, height = image.size
    limit = min(width, height) * most
    if max(width, height) <= limit:
        return image
    left = max(0, (width - limit) // 2)
    top = max(0, (height - limit) // 2)
    return image.crop((left, top, left + min(width, limit), top + min(height, limit)))
