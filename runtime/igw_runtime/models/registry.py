"""Architectures that can be exported (and run by the torch engine), by name.

Every torchvision classification model is known by its torchvision name. Others plug in as entry
points of the group `igw_runtime.architectures`, each naming a function without arguments that
returns an `Architecture`. Importing this module imports no torch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal

from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.manifest import Preprocessing

ENTRY_POINT_GROUP: Final = "igw_runtime.architectures"
# As pyproject.toml registers them (a test compares): the images and the tests run from sources,
# without the metadata of an installed distribution, and know them all the same.
OWN_ARCHITECTURES: Final = {
    "efficientnet_lite0": "igw_runtime.models.efficientnet_lite:describe_architecture",
}


def read_imagenet_labels() -> Sequence[str]:
    """Return the names of ImageNet's thousand classes, as torchvision orders them."""
    from torchvision.models import ResNet50_Weights  # noqa: PLC0415

    categories: list[str] = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    return categories


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How to make one kind of network.

    `build` gives it untrained; `build_pretrained` gives it trained, with the name of its weights,
    and raises `OSError` where they cannot be had. `labels` names its classes in their order;
    `trained_on` is what the package says of its weights.
    """

    name: str
    build: Callable[[], Any]
    build_pretrained: Callable[[], tuple[Any, str]]
    preprocessing: Preprocessing
    labels: Callable[[], Sequence[str]] = read_imagenet_labels
    trained_on: Literal["imagenet", "custom"] = "imagenet"


def find_architecture(name: str) -> Architecture:
    """Return the architecture of this name: plug-ins first, then ours, then torchvision's."""
    points = entry_points(group=ENTRY_POINT_GROUP, name=name)
    plugged = {it.value: it for it in points if it.value != OWN_ARCHITECTURES.get(name)}
    if len(plugged) > 1:
        message = f"architecture {name!r} is what several packages provide: {_list(plugged)}"
        raise ModelLoadFailedError(message)
    for point in plugged.values():
        return _load(point)
    if name in OWN_ARCHITECTURES:
        return _load(EntryPoint(name, OWN_ARCHITECTURES[name], ENTRY_POINT_GROUP))
    return _torchvision(name)


def _load(point: EntryPoint) -> Architecture:
    try:
        architecture = point.load()()
    except Exception as error:  # what somebody else's package raises is not known
        message = f"architecture {point.name!r} ({point.value}): {type(error).__name__}: {error}"
        raise ModelLoadFailedError(message) from error
    if not isinstance(architecture, Architecture):
        message = f"architecture {point.name!r} ({point.value}) gives no Architecture"
        raise ModelLoadFailedError(message)
    return architecture


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _torchvision(name: str) -> Architecture:
    try:
        from torchvision import models  # noqa: PLC0415
    except ImportError as error:
        message = f"architecture {name!r} needs torchvision, which this image does not have"
        raise ModelLoadFailedError(message) from error
    known = models.list_models(module=models)
    if name not in known:
        others = OWN_ARCHITECTURES.keys() | entry_points(group=ENTRY_POINT_GROUP).names
        message = (
            f"unknown architecture {name!r}; there are {_list(others)}, "
            f"and torchvision has {', '.join(known)}"
        )
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
        labels=lambda: weights.meta["categories"],
    )
