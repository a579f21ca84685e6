"""The torch engine: CPU or CUDA, eager or compiled, for GPU images and for comparison.

Only images built from the `torch` target have torch; it is imported when an engine is opened.
What is loaded is one of three: a state dict (`weights_only`: a pickle from a volume must not run
code) for an architecture of the registry, an exported program, or a TorchScript file. The last two
are code themselves; `models.artifact.check_program` says which of them may be loaded.
"""

import io
import pickle
from typing import Any, Final

import numpy as np

from igw_runtime.engines.protocol import Batch, EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import WEIGHTS_FILES, ModelPackage
from igw_runtime.models.manifest import Format
from igw_runtime.models.registry import find_architecture

_PRECISIONS: Final = ("fp32", "fp16", "bf16")


class TorchSession:
    """The module is shared; torch releases the GIL while it computes.

    On a GPU each session has a stream of its own, so that one's copies overlap with another's
    computing, and nobody waits for anybody else's work.
    """

    def __init__(self, module: Any, placement: dict[str, Any], stream: Any = None) -> None:
        self._module = module
        self._placement = placement
        self._stream = stream

    def infer(self, batch: Batch) -> Batch:
        """Run the batch and bring the scores back to the CPU, which is the only wait."""
        import torch  # noqa: PLC0415

        with torch.inference_mode(), torch.cuda.stream(self._stream):
            images = torch.from_numpy(batch)
            if self._stream is not None:
                # As it is: in one step with the copy, type and layout would be changed by one
                # thread of the CPU first. torch keeps pinned memory, and knows when it is free.
                images = images.pin_memory().to("cuda", non_blocking=True)
            scores = self._module(images.to(**self._placement)).float().cpu().numpy()
        return np.ascontiguousarray(scores, dtype=np.float32)


class TorchEngine:
    """A module, in the precision and on the device that it computes in."""

    def __init__(
        self, package: ModelPackage, options: EngineOptions, chosen: Format = "torch"
    ) -> None:
        try:
            import torch  # noqa: PLC0415
        except ImportError as error:
            message = "the settings ask for the torch engine, but this image has no torch"
            raise ModelLoadFailedError(message) from error
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision = options.precision
        self.name = "torch_compile" if options.torch_compile else "torch"
        _check_options(options, chosen, self.device)
        # On CUDA convolutions would otherwise keep ten bits of what is called fp32 here.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # `cudnn.benchmark` stays off: it would try out algorithms whenever a batch has a size that
        # was not met before, in the middle of a request.
        torch.set_num_threads(max(1, options.threads // options.streams))
        dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        self._placement = {"device": self.device, "dtype": dtypes[options.precision]}
        module = _load(package, chosen, self.device)
        # Convolutions are twice as fast in the first of them, on CPUs and on GPUs. Where a network
        # has views in it that do not fit that layout, it says so at once, and gets the other one.
        for layout in (torch.channels_last, torch.contiguous_format):
            self._placement["memory_format"] = layout
            placed = module.to(**self._placement)
            self._module = torch.compile(placed) if options.torch_compile else placed
            problem = self._try(options)
            if not problem:
                return
        message = f"torch cannot run {package.location} {problem}"
        raise ModelLoadFailedError(message)

    def open_session(self) -> TorchSession:
        """Return a session on the shared module."""
        return TorchSession(self._module, self._placement, _open_stream(self.device))

    def _try(self, options: EngineOptions) -> str:
        """Run the sizes of batch that will be met, and say what is wrong: here torch compiles.

        Two sizes above one, where there are two, make the compiled batch one of any size.
        """
        session = self.open_session()
        for size in sorted({1, min(2, options.max_batch), options.max_batch}):
            try:
                session.infer(np.zeros((size, 3, options.side, options.side), dtype=np.float32))
            except Exception as error:  # noqa: BLE001  torch raises what it meets: of compilers, …
                how = f"with {size} image(s) in {self.precision} on {self.device}"
                return f"{how}: {_explain(error)}"
        return ""


def _open_stream(device: str) -> Any:
    """Return a stream of a GPU, on which the weights are there; None without a GPU."""
    if device != "cuda":
        return None
    import torch  # noqa: PLC0415

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())  # where the module was laid out
    return stream


def _check_options(options: EngineOptions, chosen: Format, device: str) -> None:
    message = ""
    if options.precision not in _PRECISIONS:
        message = f"the torch engine runs {', '.join(_PRECISIONS)}; int8 needs the openvino engine"
    elif options.precision == "fp16" and device == "cpu":
        message = "fp16 needs a GPU, and torch finds none here; bf16 is for CPUs too"
    elif options.torch_compile and chosen == "torchscript":
        message = "model.torchCompile: torch does not compile TorchScript; export the model anew"
    if message:
        raise ModelLoadFailedError(message)


def _load(package: ModelPackage, chosen: Format, device: str) -> Any:
    build = find_architecture(package.manifest.architecture).build if chosen == "torch" else None
    content = io.BytesIO(package.read(WEIGHTS_FILES[chosen]))
    try:
        if build is not None:
            return _fill(build(), content)
        return _load_exported(content, device) if chosen == "exported" else _load_script(content)
    except pickle.UnpicklingError as error:
        message = (
            f"{package.location}: {WEIGHTS_FILES[chosen]} holds more than tensors, and such a "
            "pickle may run code; save the state dict alone"
        )
        raise ModelLoadFailedError(message) from error
    except Exception as error:  # torch raises whatever it stumbles over in a broken file
        message = f"torch cannot load {package.location}: {_explain(error)}"
        raise ModelLoadFailedError(message) from error


def _fill(module: Any, content: io.BytesIO) -> Any:
    import torch  # noqa: PLC0415

    module.load_state_dict(torch.load(content, map_location="cpu", weights_only=True))
    return module.eval()


def _load_exported(content: io.BytesIO, device: str) -> Any:
    import torch  # noqa: PLC0415
    from torch.export.passes import move_to_device_pass  # noqa: PLC0415

    # Not `.to` alone: a program has devices written into its graph as well.
    return move_to_device_pass(torch.export.load(content), device).module()


def _load_script(content: io.BytesIO) -> Any:
    import torch  # noqa: PLC0415

    return torch.jit.load(content, map_location="cpu").eval()


def _explain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
