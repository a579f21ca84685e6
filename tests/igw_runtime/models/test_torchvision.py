"""Our preprocessing beside torchvision's own: `make test-export`."""

import os
from typing import Any

import numpy as np
import pytest

from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.preprocessing import Preprocessor, Tensor
from runtime_kit.presets import CASES, GOLDEN_FILE, PRESETS, draw

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


def a_preset(settings: Preprocessing) -> Any:
    """Return torchvision's preset of these settings."""
    from torchvision.transforms._presets import ImageClassification  # noqa: PLC0415
    from torchvision.transforms.functional import InterpolationMode  # noqa: PLC0415

    return ImageClassification(
        crop_size=settings.crop,
        resize_size=settings.resize,
        mean=tuple(settings.mean),
        std=tuple(settings.std),
        interpolation=InterpolationMode(settings.interpolation),
    )


def test_golden_tensors_are_what_torchvision_makes() -> None:
    """The file that the unit tests compare with is torchvision's, not ours."""
    made: dict[str, Tensor] = {
        name: a_preset(PRESETS[preset])(draw(size)).numpy()
        for name, (preset, size) in CASES.items()
    }
    if os.environ.get("IGW_UPDATE_GOLDEN"):
        np.savez_compressed(GOLDEN_FILE, **made)  # type: ignore[arg-type]  # its stub means a flag
    with np.load(GOLDEN_FILE) as golden:
        assert set(golden) == set(CASES)
        for name, tensor in made.items():
            np.testing.assert_array_equal(golden[name], tensor, strict=True)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", [232, 256])
def test_full_size_presets_are_equal_bit_for_bit(resize: int, interpolation: Any) -> None:
    """A few hundred shapes of pictures, in the sizes that models have."""
    settings = PRESETS["V2"].model_copy(
        update={"resize": resize, "crop": 224, "interpolation": interpolation}
    )
    preset, ours = a_preset(settings), Preprocessor(settings, exact=True)
    random = np.random.default_rng(resize)
    for _ in range(60):
        width, height = (int(side) for side in random.integers(1, 700, 2))
        if max(width, height) > 64 * min(width, height):
            continue
        image = draw((width, height))
        expected: Tensor = preset(image).numpy()
        np.testing.assert_array_equal(ours(image), expected, strict=True)
