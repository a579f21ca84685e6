"""Architectures that can be exported (and run by the torch engine), by name.

Every torchvision classification model is known by its torchvision name. Others plug in as entry
points of the group `igw_runtime.architectures`, each naming a function without arguments that
returns an `Architecture`. Importing this module imports no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final

from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.efficientnet_lite import build_efficientnet_lite0
from igw_runtime.models.manifest import Preprocessing

ENTRY_POINT_GROUP: Final = "igw_runtime.architectures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How to make one kind of network.

    `build` gives it untrained; `build_pretrained` gives it trained, with the name of its weights,
    and raises `OSError` where they cannot be had.
    """

    name: str
    build: Callable[[], Any]
    build_pretrained: Callable[[], tuple[Any, str]]
    preprocessing: Preprocessing


def find_architecture(name: str) -> Architecture:
    """Return the architecture of this name: plug-ins first, then ours, then torchvision's."""
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        plugged: Architecture = point.load()()
        return plugged
    if name == "efficientnet_lite0":
        return _efficientnet_lite0()
    return _torchvision(name)


def _torchvision(name: str) -> Architecture:
    try:
        from torchvision import models  # noqa: PLC0415
    except ImportError as error:
        message = f"architecture {name!r} needs torchvision, which this image does not have"
        raise ModelLoadFailedError(message) from error
    known = models.list_models(module=models)
    if name not in known:
        message = f"unknown architecture {name!r}; torchvision has: {', '.join(known)}"
        raise ModelLoadFailedError(message)
    weights = models.get_model_weights(name).DEFAULT
    preset = weights.transforms()
    return Architecture(
        name=name,
        build=lambda: models.get_model(name, weights=None),
        build_pretrained=lambda: (models.get_model(name, weights=weights), weights.name),
        preprocessing=Preprocessing(
            resize=preset.resize_size[0],
            crop=preset.crop_size[0],
            mean=list(preset.mean),
            std=list(preset.std),
            interpolation="bicubic" if preset.interpolation.value == "bicubic" else "bilinear",
        ),
    )


def _efficientnet_lite0() -> Architecture:
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
