"""The torch engine: eager execution on CPU or CUDA, for GPU images and for comparison.

Only images built from the `torch` target have torch; it is imported when an engine is opened.
Weights are a state dict (`weights_only`: a pickle from a volume must not run code), the
architecture comes from the registry.
"""

import io
from typing import Any, Final

import numpy as np

from igw_runtime.engines.protocol import Batch, EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import WEIGHTS_FILES, ModelPackage
from igw_runtime.models.registry import find_architecture


class TorchSession:
    """The module is shared; torch releases the GIL while it computes."""

    def __init__(self, module: Any, device: str, dtype: Any) -> None:
        self._module = module
        self._device = device
        self._dtype = dtype

    def infer(self, batch: Batch) -> Batch:
        """Run the batch and bring the scores back to the CPU."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            images = torch.from_numpy(batch).to(self._device, self._dtype)
            scores = self._module(images).float().cpu().numpy()
        return np.ascontiguousarray(scores, dtype=np.float32)


class TorchEngine:
    """An eager module."""

    name: Final = "torch"

    def __init__(self, package: ModelPackage, options: EngineOptions) -> None:
        try:
            import torch  # noqa: PLC0415
        except ImportError as error:
            message = "the settings ask for the torch engine, but this image has no torch"
            raise ModelLoadFailedError(message) from error
        if options.precision == "int8":
            message = "the torch engine runs fp32 and bf16; int8 needs the openvino engine"
            raise ModelLoadFailedError(message)
        # On CUDA convolutions would otherwise keep ten bits of what is called fp32 here.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.set_num_threads(max(1, options.threads // options.streams))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision = options.precision
        self._dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
        module = find_architecture(package.manifest.architecture).build()
        content = io.BytesIO(package.read(WEIGHTS_FILES["torch"]))
        try:
            module.load_state_dict(torch.load(content, map_location="cpu", weights_only=True))
        except (RuntimeError, ValueError, EOFError) as error:
            message = f"torch cannot load {package.location}: {str(error).splitlines()[0]}"
            raise ModelLoadFailedError(message) from error
        self._module = module.eval().to(self.device, self._dtype)

    def open_session(self) -> TorchSession:
        """Return a session on the shared module."""
        return TorchSession(self._module, self.device, self._dtype)
