import io
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igw_runtime.errors import (
    RequestError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedFormatError,
)
from igw_runtime.models.decoding import MAX_JPEG_SCANS, ImageDecoder
from runtime_kit.colours import BLUE, GREEN, RED, picture

decoder = ImageDecoder(max_pixels=1_000_000)


def decode(content: bytes) -> Image.Image:
    """Open and decode."""
    return decoder.decode(decoder.open(content))


def centre(image: Image.Image) -> Any:
    """Return the middle pixel."""
    return image.getpixel((image.width // 2, image.height // 2))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_served_formats_decode_to_rgb(kind: str) -> None:
    """All four formats give the colour that went in."""
    image = decode(picture(RED, kind=kind))

    assert image.mode == "RGB"
    assert np.abs(np.subtract(centre(image), RED)).max() <= 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(picture((255, 0, 0, 0), mode="RGBA"), (255, 255, 255), id="transparency"),
        pytest.param(picture((0, 128), mode="LA"), (127, 127, 127), id="half-transparent grey"),
        pytest.param(picture(128, mode="L"), (128, 128, 128), id="greyscale"),
        pytest.param(picture(1, mode="1"), (255, 255, 255), id="one bit"),
        pytest.param(picture(32896, mode="I;16"), (128, 128, 128), id="16-bit greyscale"),
        pytest.param(
            picture((0, 255, 255, 0), mode="CMYK", kind="JPEG"), (254, 0, 0), id="CMYK JPEG"
        ),
    ],
)
def test_other_pixel_formats_look_as_they_should(
    content: bytes, expected: tuple[int, int, int]
) -> None:
    """What a browser would show is what the model sees."""
    assert np.abs(np.subtract(centre(decode(content)), expected)).max() <= 2


def test_palette_with_transparency_is_put_on_white() -> None:
    """A GIF-like palette image keeps its transparent colour from turning black."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=1)

    assert centre(decode(buffer.getvalue())) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_is_its_first_frame(kind: str) -> None:
    """Later frames neither change the answer nor cost time."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, RED, BLUE)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])

    red, green, blue = centre(decode(buffer.getvalue()))
    assert green > 200
    assert max(red, blue) < 50


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """A photograph from a turned camera is upright."""
    upright = Image.new("RGB", (24, 16), BLUE)
    upright.paste(RED, (0, 0, 12, 8))
    stored = upright
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)

    image = decode(buffer.getvalue())

    assert image.size == (24, 16)
    assert image.getpixel((2, 2)) == RED
    assert image.getpixel((20, 14)) == BLUE


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_is_ignored() -> None:
    """Metadata that does not parse is no reason to refuse a picture."""
    content = picture(RED, kind="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert decode(content).size == (40, 40)


def a_declared_png(width: int, height: int) -> bytes:
    """Return a PNG that only claims a size."""
    content = bytearray(picture(RED))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def test_hundred_megapixels_are_refused_from_the_header() -> None:
    """A bomb costs nothing: its pixels are never touched."""
    with pytest.raises(TooManyPixelsError, match="10000x10000; at most 1000000"):
        decoder.open(a_declared_png(10_000, 10_000))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated_image_is_undecodable(kind: str, part: float) -> None:
    """A cut picture is the client's broken upload, not a grey answer and not a crash."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    content = buffer.getvalue()

    with pytest.raises(UndecodableImageError):
        decode(content[: int(len(content) * part)])


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_bare_magic_is_a_cut_image(content: bytes) -> None:
    """The format is known, the picture is missing."""
    with pytest.raises(UndecodableImageError):
        decoder.open(content)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_unsupported(kind: str) -> None:
    """Decoders that nobody needs are not reachable."""
    with pytest.raises(UnsupportedFormatError, match="JPEG, PNG, WEBP, GIF"):
        decoder.open(picture(RED, kind=kind))


def test_text_is_unsupported() -> None:
    """What is no image at all is told what would be one."""
    with pytest.raises(UnsupportedFormatError):
        decoder.open(b"<svg/>")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_damaged_images_never_raise_anything_else(kind: str) -> None:
    """Flipped bytes give a picture or a RequestError, never a surprise."""
    random = np.random.default_rng(1)
    original = picture(RED, kind=kind, size=(32, 32))
    for _ in range(60):
        content = bytearray(original)
        for position in random.integers(0, len(content), 3):
            content[position] = random.integers(0, 256)
        try:
            decode(bytes(content))
        except RequestError:
            continue


def test_draft_decodes_large_jpegs_smaller() -> None:
    """Libjpeg's scaled decoding saves the time that a resize would throw away."""
    drafting = ImageDecoder(max_pixels=10_000_000, draft_side=64)

    image = drafting.decode(drafting.open(picture(RED, size=(1024, 512), kind="JPEG")))

    assert image.size == (128, 64)


def progressive(extra_scans: int, **options: Any) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    content = picture(RED, kind="JPEG", progressive=True, **options)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * extra_scans + content[-2:]


def test_jpeg_of_endless_scans_is_refused_undecoded() -> None:
    """Each scan costs a pass over all pixels and next to no bytes: they are counted first."""
    assert centre(decode(progressive(5)))[0] > 250

    for comment in (b"", b"x", b"xx"):  # at even places, or at odd ones
        with pytest.raises(UndecodableImageError, match="scans"):
            decoder.open(progressive(MAX_JPEG_SCANS, comment=comment))


def test_what_only_looks_like_scans_is_not_counted() -> None:
    """Metadata, and the film that a phone puts behind its photograph, may hold any bytes."""
    noise = b"\xff\xda" * (MAX_JPEG_SCANS + 1)
    content = picture(RED, kind="JPEG", comment=noise) + noise

    assert centre(decode(content))[0] > 250


def test_mpo_is_decoded_as_the_jpeg_it_is() -> None:
    """Phones append pictures to their JPEGs; the first is small where the model is small."""
    buffer = io.BytesIO()
    first = Image.new("RGB", (256, 256), RED)
    first.save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (256, 256), BLUE)])
    image = ImageDecoder(1_000_000, draft_side=64).decode(decoder.open(buffer.getvalue()))

    assert image.size == (64, 64)
    assert centre(image)[0] > 250


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_strips_of_tall_pictures_fit_together(mode: str) -> None:
    """Rows are flattened a few hundred at a time, and none is lost or moved."""
    rows = np.linspace(0, 255, 600).astype(np.uint8)[:, None].repeat(3, axis=1)
    grey = Image.fromarray(rows.astype(np.uint16) * 257 if mode == "I;16" else rows)
    buffer = io.BytesIO()
    (grey if mode == "I;16" else grey.convert(mode)).save(buffer, "PNG")

    assert (np.asarray(decode(buffer.getvalue()))[:, :, 1] == rows).all()


def test_deep_pictures_are_brought_to_8_bit_in_strips() -> None:
    """No array ever holds the whole picture, or the largest ones would cost a gigabyte."""
    big = ImageDecoder(max_pixels=10_000_000)
    opened = big.open(picture(0, size=(1500, 1500), mode="I;16"))
    tracemalloc.start()
    big.decode(opened)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1500 * 1500 * 4
