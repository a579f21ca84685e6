"""A converted network to int8, by NNCF, and past the gate: or not at all.

Called by `models.export`. NNCF measures, on the calibration pictures, the ranges that each layer's
inputs have, and replaces its arithmetic. What that costs is measured on other pictures, against
the same network in fp32.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from igw_runtime.errors import AccuracyGateError, InvalidPicturesError, ModelLoadFailedError
from igw_runtime.models.gate import GateLimits, check_gate, find_weakness, measure
from igw_runtime.models.manifest import Preprocessing, Quantisation
from igw_runtime.models.pictures import PictureSet, check_disjoint, list_pictures
from igw_runtime.models.preprocessing import Tensor

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationOrder:
    """The folders of pictures, and what int8 may cost."""

    calibration: Path
    evaluation: Path
    calibration_images: int
    limits: GateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The pictures that were found: read before anything that takes long."""

    calibration: PictureSet
    evaluation: PictureSet


def gather_pictures(order: QuantisationOrder, classes: Sequence[str]) -> Material:
    """List both folders, and see that they have nothing in common."""
    calibration = list_pictures(order.calibration, classes)
    evaluation = list_pictures(order.evaluation, classes)
    check_disjoint(calibration, evaluation)
    chosen = calibration.spread(order.calibration_images)
    return Material(calibration=chosen, evaluation=evaluation)


def quantise(
    network: Any,
    material: Material,
    preprocessing: Preprocessing,
    limits: GateLimits,
    *,
    trained: bool,
) -> tuple[Any, Quantisation]:
    """Return the int8 network and how it was made.

    A network that was never trained is measured, but not judged: it has no accuracy to lose.

    Raises:
        InvalidPicturesError: a picture is broken, or the evaluation could not show a difference.
        AccuracyGateError: int8 is worse than the limits allow.
    """
    evaluation = material.evaluation
    fp32 = _answer(network, evaluation, preprocessing)
    different = len({picture.sha256 for picture in evaluation.pictures})
    weakness = find_weakness(fp32, different, limits) if trained else ""
    if weakness:
        message = f"{evaluation.folder}: {weakness}"
        raise InvalidPicturesError(message)
    quantised, method = _calibrate(network, list(material.calibration.read(preprocessing)))
    int8 = _answer(quantised, evaluation, preprocessing)
    truths = [picture.truth for picture in evaluation.pictures]
    gate = measure(fp32, int8, truths, limits, applied=trained)
    problem = check_gate(gate)
    _log.info("accuracy_measured", problem=problem, **gate.model_dump(exclude_none=True))
    if problem and trained:
        raise AccuracyGateError(problem)
    return quantised, Quantisation(
        method=method,
        calibration=material.calibration.describe(),
        evaluation=evaluation.describe(),
        gate=gate,
    )


def compute_scores(network: Any, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Run batches of one, in fp32 wherever the network is not int8."""
    import openvino  # noqa: PLC0415

    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    for tensor in tensors:
        request.infer([tensor])
        yield np.array(request.get_output_tensor().data[0], dtype=np.float32)


def _answer(network: Any, pictures: PictureSet, preprocessing: Preprocessing) -> list[int]:
    return [
        int(scores.argmax()) for scores in compute_scores(network, pictures.read(preprocessing))
    ]


def _calibrate(network: Any, tensors: Sequence[Tensor]) -> tuple[Any, str]:
    try:
        import nncf  # noqa: PLC0415
    except ImportError as error:
        message = "int8 needs NNCF, which the `export` extra installs"
        raise ModelLoadFailedError(message) from error
    nncf.set_log_level(logging.WARNING)
    quantised = nncf.quantize(
        network,
        nncf.Dataset(tensors),
        subset_size=len(tensors),
        target_device=nncf.TargetDevice.CPU,
        # With eight bits to a weight, sums overflow on CPUs without VNNI; with seven they do not,
        # and every CPU gets the worse network. A process on such a CPU fails its golden check.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.DISABLE
        ),
    )
    return quantised, f"nncf {nncf.__version__}, post-training"
