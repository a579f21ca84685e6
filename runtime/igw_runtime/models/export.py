"""Making a model package: trained (or loudly random) torch weights to OpenVINO IR and friends.

Runs in the image's builder stage, or by hand; the only module besides the torch engine that needs
torch. Every export ends by comparing what was written with torch on the golden image, and only then
takes the place of the package that was there before.
"""

import json
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from igw_runtime.engines.choice import open_engine
from igw_runtime.engines.protocol import EngineOptions
from igw_runtime.errors import (
    GoldenCheckFailedError,
    InvalidSettingsError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.models.artifact import MANIFEST_FILE, TOPOLOGY_FILE, WEIGHTS_FILES, read_package
from igw_runtime.models.decoding import ImageDecoder
from igw_runtime.models.golden import build_golden, check_golden, draw_golden_image
from igw_runtime.models.manifest import (
    Format,
    Golden,
    Manifest,
    Precision,
    Quantisation,
    Weights,
)
from igw_runtime.models.preprocessing import Preprocessor, Tensor
from igw_runtime.models.quantisation import (
    QuantisationOrder,
    compute_scores,
    gather_pictures,
    quantise,
)
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
    quantisation: QuantisationOrder | None = None


def export_model(order: ExportOrder) -> Manifest:
    """Write the package `<output>/<name>` and prove that it answers as torch does."""
    _check_order(order)
    architecture = find_architecture(order.architecture)
    labels = architecture.labels()
    material = gather_pictures(order.quantisation, labels) if order.quantisation else None
    module, weights = _obtain_module(architecture, order)
    image = draw_golden_image()
    decoder = ImageDecoder(max_pixels=1 << 20)
    tensor = Preprocessor(architecture.preprocessing)(decoder.decode(decoder.open(image)))
    golden = _compute_golden(module, tensor, architecture.name, len(labels))
    quantisation = None
    network = _convert(module, tensor) if "openvino" in order.formats else None
    if order.quantisation and material:
        _compare(f"{architecture.name} as OpenVINO has it", golden, network, tensor)
        network, quantisation = quantise(
            network,
            material,
            architecture.preprocessing,
            order.quantisation.limits,
            trained=not weights.random,
        )
        # What int8 costs was judged by many pictures. The golden one is there to tell this network
        # from a broken one.
        golden = build_golden(next(compute_scores(network, [tensor[None]])))
    manifest = _describe(order, architecture, weights, golden, quantisation)
    with _stage(order.output / order.name) as folder:
        (folder / manifest.golden.image).write_bytes(image)
        (folder / manifest.labels).write_text("\n".join(labels) + "\n")
        text = json.dumps(manifest.model_dump(exclude_none=True), indent=2) + "\n"
        (folder / MANIFEST_FILE).write_text(text)
        _write_weights(module, network, folder, tensor, order)
        for chosen in order.formats:
            _prove(folder, chosen, tensor, golden, precision=order.precision)
    _log.info("model_exported", folder=str(order.output / order.name), weights=str(weights))
    return manifest


def _check_order(order: ExportOrder) -> None:
    message = ""
    if order.precision == "int8" and order.quantisation is None:
        message = "--precision int8 needs --calibration and --evaluation: folders of pictures"
    elif order.precision != "int8" and order.quantisation is not None:
        message = "--calibration and --evaluation are for --precision int8"
    elif order.precision == "int8" and list(order.formats) != ["openvino"]:
        message = "--precision int8 is for --formats openvino alone"
    if message:
        raise InvalidSettingsError(message)


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Give a folder to write to; its files come to `folder` if all went well, else to nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        staging = Path(name)
        yield staging
        folder.mkdir(exist_ok=True)
        for file in sorted(staging.iterdir()):
            shutil.move(file, folder / file.name)


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
    order: ExportOrder,
    architecture: Architecture,
    weights: Weights,
    golden: Golden,
    quantisation: Quantisation | None,
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
        quantisation=quantisation,
    )


def _compute_golden(module: Any, tensor: Tensor, name: str, labels: int) -> Golden:
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        scores: Tensor = module(torch.from_numpy(tensor[None]))[0].numpy()
    if labels != len(scores):
        message = f"{name} has {len(scores)} classes, and names for {labels}"
        raise ModelLoadFailedError(message)
    return build_golden(scores)


def _convert(module: Any, tensor: Tensor) -> Any:
    import openvino  # noqa: PLC0415
    import torch  # noqa: PLC0415

    return openvino.convert_model(
        module,
        example_input=torch.zeros(1, *tensor.shape),
        input=[openvino.PartialShape([-1, *tensor.shape])],
    )


def _compare(what: str, golden: Golden, network: Any, tensor: Tensor) -> None:
    problem = check_golden(golden, next(compute_scores(network, [tensor[None]])), "fp32")
    if problem:
        message = f"{what}: {problem}"
        raise GoldenCheckFailedError(message)


def _write_weights(
    module: Any, network: Any, folder: Path, tensor: Tensor, order: ExportOrder
) -> None:
    import torch  # noqa: PLC0415

    # Two, and not one: torch takes a one for a size that is always one.
    example = torch.zeros(2, *tensor.shape)
    if network is not None:
        import openvino  # noqa: PLC0415

        # 16-bit weights lose nothing that bf16 computation would have kept, and halve the package.
        compress = order.precision == "bf16"
        openvino.save_model(network, folder / TOPOLOGY_FILE, compress_to_fp16=compress)
    if "torch" in order.formats:
        torch.save(module.state_dict(), folder / WEIGHTS_FILES["torch"])
    if "torchscript" in order.formats:
        with torch.inference_mode():
            torch.jit.save(torch.jit.trace(module, example), folder / WEIGHTS_FILES["torchscript"])
    if "exported" in order.formats:
        batch = {0: torch.export.Dim("batch", min=1)}
        program = torch.export.export(module, (example,), dynamic_shapes=(batch,))
        torch.export.save(program, folder / WEIGHTS_FILES["exported"])


def _prove(
    folder: Path, chosen: Format, tensor: Tensor, golden: Golden, *, precision: Precision
) -> None:
    options = EngineOptions(
        precision=precision,
        threads=1,
        streams=1,
        pin_threads=False,
        max_batch=2,
        side=tensor.shape[-1],
    )
    engine = open_engine(chosen, read_package(folder), options)
    for scores in engine.open_session().infer(np.ascontiguousarray(np.stack([tensor] * 2))):
        problem = check_golden(golden, scores, engine.precision)
        if problem:
            message = f"{folder} with {chosen}: {problem}"
            raise GoldenCheckFailedError(message)
