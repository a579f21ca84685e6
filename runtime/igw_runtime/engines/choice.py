"""Which engine runs a package: what the settings ask for, else what image and package allow."""

from importlib.util import find_spec

from igw_runtime.engines.protocol import Engine, EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import ModelPackage
from igw_runtime.models.manifest import Format


def choose_engine(asked: str, package: ModelPackage) -> Format:
    """Return the engine's name; `auto` takes torch on a GPU, then OpenVINO, then torch."""
    formats = package.manifest.formats
    if asked != "auto":
        chosen: Format = "torch" if asked == "torch" else "openvino"
        if chosen not in formats:
            message = f"{package.location} has no {chosen} files; it has: {', '.join(formats)}"
            raise ModelLoadFailedError(message)
        return chosen
    if "torch" in formats and ("openvino" not in formats or _has_gpu()):
        return "torch"
    return "openvino"


def open_engine(chosen: Format, package: ModelPackage, options: EngineOptions) -> Engine:
    """Import the engine's library and compile the model with it."""
    if chosen == "torch":
        from igw_runtime.engines.torch_engine import TorchEngine  # noqa: PLC0415

        return TorchEngine(package, options)
    if find_spec("openvino") is None:
        message = "the openvino engine was chosen, but this image has no openvino"
        raise ModelLoadFailedError(message)
    from igw_runtime.engines.openvino_engine import OpenVinoEngine  # noqa: PLC0415

    return OpenVinoEngine(package, options)


def _has_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415

    return bool(torch.cuda.is_available())
