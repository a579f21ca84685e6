"""What decoding a JPEG as a draft changes, by size of picture: the table in docs/runtime.md."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from igw_runtime.models.decoding import DRAFT_FACTOR, ImageDecoder
from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.preprocessing import Preprocessor, Tensor

SIZES: Final = ((500, 375), (1280, 720), (1920, 1080), (2592, 1944), (4000, 3000))
RESNET: Final = Preprocessing(
    resize=232, crop=224, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
)
_ROW: Final = re.compile(
    r"^\| (\d+)x(\d+) \| (\d+)x(\d+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The error of one size, in units of the model's input."""

    size: tuple[int, int]
    decoded: tuple[int, int]
    mean: float
    largest: float


def measure(size: tuple[int, int]) -> Draft:
    """Compare the tensor of a draft with that of the whole picture."""
    content = draw(size)
    draft = ImageDecoder(1 << 26, draft_side=RESNET.resize * DRAFT_FACTOR)
    decoded = draft.decode(draft.open(content))
    error = np.abs(_preprocess(decoded) - _preprocess(Image.open(io.BytesIO(content))))
    return Draft(
        size=size,
        decoded=decoded.size,
        mean=float(error.mean()),
        largest=float(error.max()),
    )


def render(drafts: Sequence[Draft]) -> str:
    """Return the table's rows."""
    return "\n".join(
        f"| {draft.size[0]}x{draft.size[1]} | {draft.decoded[0]}x{draft.decoded[1]} "
        f"| {draft.mean:.4f} | {draft.largest:.3f} |"
        for draft in drafts
    )


def parse(text: str) -> list[Draft]:
    """Read the table's rows back."""
    return [
        Draft(
            size=(int(width), int(height)),
            decoded=(int(drafted_width), int(drafted_height)),
            mean=float(mean),
            largest=float(largest),
        )
        for width, height, drafted_width, drafted_height, mean, largest in _ROW.findall(text)
    ]


def draw(size: tuple[int, int]) -> bytes:
    """Return a JPEG whose detail falls off with frequency as that of photographs does (1/f)."""
    width, height = size
    random = np.random.default_rng(size)
    falloff = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    falloff[0, 0] = 1
    planes = []
    for _ in range(3):
        noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / falloff)
        planes.append(128 + 48 * noise / noise.std())
    buffer = io.BytesIO()
    pixels = np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _preprocess(image: Image.Image) -> Tensor:
    return Preprocessor(RESNET, exact=True)(image)
