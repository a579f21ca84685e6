import numpy as np
import pytest
from PIL import Image

from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.preprocessing import Preprocessor
from runtime_kit.colours import BLUE, RED
from runtime_kit.presets import CASES, GOLDEN_FILE, PRESETS, draw

IMAGENET = Preprocessing(
    resize=232, crop=224, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
)


def test_known_colour_is_normalised() -> None:
    """A red picture has the red that the formula says."""
    tensor = Preprocessor(IMAGENET)(Image.new("RGB", (300, 400), RED))

    assert tensor.shape == (3, 224, 224)
    assert tensor.dtype == np.float32
    assert tensor[:, 5, 5] == pytest.approx(
        [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=1e-5
    )


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (232, 232), (224, 640), (1, 1), (7, 3)])
def test_equals_resize_shorter_side_then_centre_crop(size: tuple[int, int]) -> None:
    """The tensor is that of torchvision's preset, spelt out with Pillow."""
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    plain = Preprocessing(resize=232, crop=224, mean=[0.0] * 3, std=[1.0] * 3)
    width, height = size
    if width <= height:
        resized = image.resize((232, int(232 * height / width)), Image.Resampling.BILINEAR)
    else:
        resized = image.resize((int(232 * width / height), 232), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 224) / 2.0), round((resized.height - 224) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float32) / 255

    tensor = Preprocessor(plain)(image)

    np.testing.assert_array_equal(tensor.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("name", CASES)
def test_exact_mode_equals_torchvision_bit_for_bit(name: str) -> None:
    """Not one bit of a tensor that torchvision's preset made is different."""
    preset, size = CASES[name]
    with np.load(GOLDEN_FILE) as golden:
        expected = golden[name]

    tensor = Preprocessor(PRESETS[preset], exact=True)(draw(size))

    np.testing.assert_array_equal(tensor, expected, strict=True)


@pytest.mark.parametrize("name", [name for name in CASES if " times " not in name])
def test_default_mode_is_as_exact_but_for_very_long_pictures(name: str) -> None:
    """What the default leaves out is draft decoding, and the ends of panoramas."""
    preset, size = CASES[name]
    exact = Preprocessor(PRESETS[preset], exact=True)(draw(size))

    np.testing.assert_array_equal(Preprocessor(PRESETS[preset])(draw(size)), exact)


@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1)])
def test_extreme_aspect_ratio_is_not_enlarged(size: tuple[int, int]) -> None:
    """A one-pixel-wide picture would become 11 million pixels; its middle is all that counts."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (0, 0, max(1, size[0] // 4), max(1, size[1] // 4)))

    for exact in (False, True):
        tensor = Preprocessor(IMAGENET, exact=exact)(image)
        assert tensor[0].min() > 2.0
