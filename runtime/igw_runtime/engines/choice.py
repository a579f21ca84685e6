"""Which engine runs a package: what the settings ask for, else what image and package allow."""

from importlib.util import find_spec
from typing import Final

from igw_runtime.engines.protocol import Engine, EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import ModelPackage
from igw_runtime.models.manifest import Format

# What is only numbers comes before what is code.
_TORCH_FORMATS: Final[tuple[Format, ...]] = ("torch", "exported", "torchscript")


def choose_format(asked: str, package: ModelPackage) -> Format:
    """Return what is to be loaded of a package; `auto` is torch on a GPU, OpenVINO, then torch."""
    formats = package.manifest.formats
    torch_formats = [each for each in _TORCH_FORMATS if each in formats]
    if asked == "torch" or (asked == "auto" and torch_formats and _prefers_torch(formats)):
        found = torch_formats
    else:
        found = [each for each in formats if each == "openvino"]
    if not found:
        message = f"{package.location} has no {asked} files; it has: {', '.join(formats)}"
        raise ModelLoadFailedError(message)
    return found[0]


def open_engine(chosen: Format, package: ModelPackage, options: EngineOptions) -> Engine:
    """Import the library of the format's engine and compile the model with it."""
    if chosen != "openvino":
        from igw_runtime.engines.torch_engine import TorchEngine  # noqa: PLC0415

        return TorchEngine(package, options, chosen)
    if options.torch_compile:
        message = "model.torchCompile is for the torch engine, and openvino was chosen"
        raise ModelLoadFailedError(message)
    if find_spec("openvino") is None:
        message = "the openvino engine was chosen, but this image has no openvino"
        raise ModelLoadFailedError(message)
    from igw_runtime.engines.openvino_engine import OpenVinoEngine  # noqa: PLC0415

    return OpenVinoEngine(package, options)


def _prefers_torch(formats: list[Format]) -> bool:
    return "openvino" not in formats or _has_gpu()


def _has_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415

    return bool(torch.cuda.is_available())
