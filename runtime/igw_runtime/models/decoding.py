"""Untrusted bytes to an upright RGB image, with every bound checked before pixels exist.

The order matters: the format is sniffed against an allow-list, the size is read from the header,
and only then is anything decoded. What a browser would show is what the model sees: first frame,
EXIF orientation applied, transparency on white, CMYK and 16-bit greyscale brought to 8-bit RGB.
"""

import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from igw_runtime.errors import TooManyPixelsError, UndecodableImageError, UnsupportedFormatError

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
# Cameras and web tools write about ten. Each scan of a progressive JPEG costs a pass over all
# pixels and as little as a hundred bytes: without a limit, one small file costs minutes.
MAX_JPEG_SCANS: Final = 100
DRAFT_FACTOR: Final = 2
"""Large JPEGs are decoded at no less than this many times the preset's `resize`."""
_START_OF_SCAN: Final = b"\xff\xda"
_END_OF_IMAGE: Final = b"\xff\xd9"
# Within a scan 0xff is followed by 0x00 or a restart marker; any other byte ends it.
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_FORMATS: Final = frozenset({"JPEG", "MPO"})  # MPO: a JPEG with more pictures behind it
_STRIP_ROWS: Final = 256
_WHITE: Final = (255, 255, 255)
_ORIENTATION_TAG: Final = 0x0112
_TRANSPOSE: Final[Mapping[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's plugins raise all of these for broken files; anything else is a bug worth a 500.
_DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedImage:
    """An image whose header was read and found acceptable; its pixels were not touched."""

    image: Image.Image
    format: str
    width: int
    height: int


class ImageDecoder:
    """Opens and decodes images within a pixel limit."""

    def __init__(self, max_pixels: int, *, draft_side: int = 0) -> None:
        self._max_pixels = max_pixels
        self._draft_side = draft_side
        # `open` checks the size itself, against the configured limit, before `decode` allocates;
        # Pillow's own global limit would warn and raise at other numbers.
        Image.MAX_IMAGE_PIXELS = None

    def open(self, content: bytes) -> OpenedImage:
        """Read the header; refuse foreign formats, broken headers and oversized pictures."""
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
        except UnidentifiedImageError as error:
            raise _explain_unidentified(content) from error
        except _DECODE_ERRORS as error:
            message = f"broken image header: {error}"
            raise UndecodableImageError(message) from error
        if width * height > self._max_pixels:
            message = f"the image is {width}x{height}; at most {self._max_pixels} pixels are served"
            raise TooManyPixelsError(message)
        kind = image.format or ""
        if kind in _JPEG_FORMATS and _has_too_many_scans(content):
            message = f"the JPEG has more than {MAX_JPEG_SCANS} scans"
            raise UndecodableImageError(message)
        return OpenedImage(image=image, format=kind, width=width, height=height)

    def decode(self, opened: OpenedImage) -> Image.Image:
        """Decode to upright RGB; the opened image is used up, its pixels are freed."""
        image = opened.image
        try:
            orientation = _read_orientation(image)
            if self._draft_side and opened.format in _JPEG_FORMATS:
                # libjpeg decodes at 1/2, 1/4 or 1/8 for free; twice the model's size loses nothing
                # that the resize would have kept.
                image.draft(None, (self._draft_side, self._draft_side))
            image.load()
            image = _to_rgb(image)
            if image is not opened.image:
                opened.image.close()
        except _DECODE_ERRORS as error:
            message = f"broken image data: {error}"
            raise UndecodableImageError(message) from error
        transpose = _TRANSPOSE.get(orientation)
        return image if transpose is None else image.transpose(transpose)


def _explain_unidentified(content: bytes) -> UndecodableImageError | UnsupportedFormatError:
    if content.startswith(_MAGIC) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return UndecodableImageError("the image is cut short or its header is broken")
    return UnsupportedFormatError(f"not one of the served image formats: {', '.join(FORMATS)}")


def _has_too_many_scans(content: bytes) -> bool:
    if _count_pairs(content, _START_OF_SCAN) <= MAX_JPEG_SCANS:
        return False
    # The two bytes may also stand in metadata, or in the film that a phone puts behind.
    scans, position = 0, 2
    while scans <= MAX_JPEG_SCANS and (found := _JPEG_MARKER.search(content, position)):
        if found.group() == _END_OF_IMAGE:
            break
        scans += found.group() == _START_OF_SCAN
        length = int.from_bytes(content[found.end() : found.end() + 2])
        position = found.end() + max(2, length)
    return scans > MAX_JPEG_SCANS


def _count_pairs(content: bytes, pair: bytes) -> int:
    """Return how often two bytes occur, at even and at odd places; `bytes.count` is much slower."""
    wanted = int.from_bytes(pair, "little")
    starts = (np.frombuffer(content, "<u2", (len(content) - at) // 2, at) for at in (0, 1))
    return sum(int(np.count_nonzero(values == wanted)) for values in starts)


def _read_orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODE_ERRORS:
        # Broken metadata does not make the picture unreadable.
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    transparent = image.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in image.info
    if not transparent and not image.mode.startswith("I"):
        return image if image.mode == "RGB" else image.convert("RGB")
    # In strips: whole pictures would be held four or five times at once, and the largest that
    # is served would cost a gigabyte.
    flat = Image.new("RGB", image.size, _WHITE)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        strip = image.crop((0, top, image.width, bottom))
        if strip.mode.startswith("I"):
            flat.paste(_to_8_bit(strip), (0, top))
        else:
            layer = strip.convert("RGBA")
            flat.paste(layer, (0, top), layer)
    return flat


def _to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32) / 257.0
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")
