"""The default engine: OpenVINO IR on the CPU, without torch in the process.

Two traps are handled here. Without a hint OpenVINO silently computes in bf16 where the CPU can
(openvino#28032), so the precision is always set and read back. And the first inference must not
happen in several threads at once (`serving.loading` warms sessions one after the other).
"""

from typing import Any, Final

import numpy as np
import openvino

from igw_runtime.engines.protocol import Batch, EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import TOPOLOGY_FILE, WEIGHTS_FILES, ModelPackage

_PRECISION_HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_PRECISION_NAMES: Final = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoSession:
    """One infer request."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def infer(self, batch: Batch) -> Batch:
        """Run the batch where it lies; copy the scores out, the request reuses its buffer."""
        self._request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        self._request.infer()
        scores: Batch = np.array(self._request.get_output_tensor().data, dtype=np.float32)
        return scores


class OpenVinoEngine:
    """A compiled IR model."""

    name: Final = "openvino"
    device: Final = "cpu"

    def __init__(self, package: ModelPackage, options: EngineOptions) -> None:
        if options.precision not in _PRECISION_HINTS:
            message = (
                f"the openvino engine runs {', '.join(_PRECISION_HINTS)}; "
                f"{options.precision} needs the torch engine, on a GPU"
            )
            raise ModelLoadFailedError(message)
        core = openvino.Core()
        try:
            self._compiled = core.compile_model(
                _read_network(core, package, options), "CPU", _build_config(options)
            )
            hint = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        except RuntimeError as error:
            message = f"OpenVINO cannot run {package.location}: {_first_line(error)}"
            raise ModelLoadFailedError(message) from error
        computed = _PRECISION_NAMES.get(hint.get_type_name(), hint.get_type_name())
        # A quantised network keeps its int8 layers whatever the hint says about the others.
        self.precision = "int8" if package.manifest.precision == "int8" else computed

    def open_session(self) -> OpenVinoSession:
        """Return a session with an infer request of its own."""
        return OpenVinoSession(self._compiled.create_infer_request())


def _read_network(core: Any, package: ModelPackage, options: EngineOptions) -> Any:
    weights = WEIGHTS_FILES["openvino"]
    if package.archived:
        # The buffer must outlive the network: the package holds it for the life of the process.
        buffer = np.frombuffer(package.read(weights), dtype=np.uint8)
        network = core.read_model(package.read(TOPOLOGY_FILE), openvino.Tensor(buffer))
    else:
        network = core.read_model(package.location / TOPOLOGY_FILE, package.location / weights)
    items = 1 if options.max_batch == 1 else openvino.Dimension(1, options.max_batch)
    network.reshape(openvino.PartialShape([items, 3, options.side, options.side]))
    return network


def _build_config(options: EngineOptions) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[options.precision],
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": options.streams,
        # Pinning under a CFS quota binds threads to cores that other pods are using.
        "ENABLE_CPU_PINNING": options.pin_threads,
    }


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
