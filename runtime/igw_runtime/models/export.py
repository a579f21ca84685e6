"""Making a model package: trained (or loudly random) torch weights to OpenVINO IR and friends.

Runs in the image's builder stage, or by hand; the only module besides the torch engine that needs
torch. Every export ends by comparing the IR with torch on the golden image.
"""

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from igw_runtime.engines.choice import open_engine
from igw_runtime.engines.protocol import EngineOptions
from igw_runtime.errors import GoldenCheckFailedError, ModelLoadFailedError, ModelNotFoundError
from igw_runtime.models.artifact import MANIFEST_FILE, TOPOLOGY_FILE, WEIGHTS_FILES, read_package
from igw_runtime.models.decoding import ImageDecoder
from igw_runtime.models.golden import build_golden, check_golden, draw_golden_image
from igw_runtime.models.manifest import Format, Golden, Manifest, Precision, Weights
from igw_runtime.models.preprocessing import Preprocessor, Tensor
from igw_runtime.models.registry import Architecture, find_architecture

DOWNLOAD_TIMEOUT_SECONDS: Final = 30.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """What to make and where to put it."""

    name: str
    architecture: str
    version: str
    precision: Precision
    output: Path
    formats: Sequence[Format]
    allow_random_weights: bool
    seed: int


def export_model(order: ExportOrder) -> Manifest:
    """Write the package `<output>/<name>` and prove that it answers as torch does."""
    architecture = find_architecture(order.architecture)
    module, weights = _obtain_module(architecture, order)
    folder = order.output / order.name
    folder.mkdir(parents=True, exist_ok=True)
    image = draw_golden_image()
    (folder / "golden.png").write_bytes(image)
    decoder = ImageDecoder(max_pixels=1 << 20)
    tensor = Preprocessor(architecture.preprocessing)(decoder.decode(decoder.open(image)))
    scores = _run_torch(module, tensor)
    golden = build_golden(scores)
    labels = architecture.labels()
    if len(labels) != len(scores):
        message = f"{architecture.name} has {len(scores)} classes, and names for {len(labels)}"
        raise ModelLoadFailedError(message)
    manifest = _describe(order, architecture, weights, golden)
    text = json.dumps(manifest.model_dump(), indent=2) + "\n"
    (folder / MANIFEST_FILE).write_text(text)
    (folder / manifest.labels).write_text("\n".join(labels) + "\n")
    if "openvino" in order.formats:
        _write_openvino(module, folder, side=architecture.preprocessing.crop, order=order)
    if "torch" in order.formats:
        _write_torch(module, folder)
    for chosen in order.formats:
        _prove(folder, chosen, tensor, golden, precision=order.precision)
    _log.info("model_exported", folder=str(folder), weights=str(weights))
    return manifest


def _obtain_module(architecture: Architecture, order: ExportOrder) -> tuple[Any, Weights]:
    import torch  # noqa: PLC0415

    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)  # torch.hub sets none of its own
    try:
        module, name = architecture.build_pretrained()
    except OSError as error:
        if not order.allow_random_weights:
            message = (
                f"the trained weights of {architecture.name} cannot be had ({error}); "
                "--allow-random-weights exports a network that only measures speed"
            )
            raise ModelNotFoundError(message) from error
        weights = Weights(source="random", seed=order.seed)
        _log.warning(
            "exporting_random_weights", model=order.name, weights=str(weights), error=str(error)
        )
        torch.manual_seed(order.seed)
        return architecture.build().eval(), weights
    return module.eval(), Weights(source=architecture.trained_on, name=name)


def _describe(
    order: ExportOrder, architecture: Architecture, weights: Weights, golden: Golden
) -> Manifest:
    return Manifest(
        name=order.name,
        architecture=order.architecture,
        version=order.version,
        formats=list(order.formats),
        precision=order.precision,
        weights=weights,
        preprocessing=architecture.preprocessing,
        golden=golden,
    )


def _run_torch(module: Any, tensor: Tensor) -> Tensor:
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        scores: Tensor = module(torch.from_numpy(tensor[None]))[0].numpy()
    return scores


def _write_openvino(module: Any, folder: Path, *, side: int, order: ExportOrder) -> None:
    import openvino  # noqa: PLC0415
    import torch  # noqa: PLC0415

    network = openvino.convert_model(
        module,
        example_input=torch.zeros(1, 3, side, side),
        input=[openvino.PartialShape([-1, 3, side, side])],
    )
    # 16-bit weights lose nothing that a bf16 computation would have kept, and halve the package.
    compress = order.precision == "bf16"
    openvino.save_model(network, folder / TOPOLOGY_FILE, compress_to_fp16=compress)


def _write_torch(module: Any, folder: Path) -> None:
    import torch  # noqa: PLC0415

    torch.save(module.state_dict(), folder / WEIGHTS_FILES["torch"])


def _prove(
    folder: Path, chosen: Format, tensor: Tensor, golden: Golden, *, precision: Precision
) -> None:
    options = EngineOptions(
        precision=precision,
        threads=1,
        streams=1,
        pin_threads=False,
        max_batch=1,
        side=tensor.shape[-1],
    )
    engine = open_engine(chosen, read_package(folder), options)
    scores = engine.open_session().infer(np.ascontiguousarray(tensor[None]))[0]
    problem = check_golden(golden, scores, engine.precision)
    if problem:
        message = f"{folder} with {chosen}: {problem}"
        raise GoldenCheckFailedError(message)
