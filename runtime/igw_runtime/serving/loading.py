"""From settings to warm, checked models.

Everything here runs in one thread, before the process is ready, one step after the other. That is
deliberate: OpenVINO deadlocks the whole process when its first inferences happen in several
threads at once; one serial inference on each session makes it safe (docs/runtime.md).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from igw_runtime.engines.choice import choose_format, open_engine
from igw_runtime.engines.protocol import Engine, EngineOptions, Session
from igw_runtime.errors import (
    GoldenCheckFailedError,
    InvalidSettingsError,
    ModelLoadFailedError,
    RequestError,
    StartupError,
)
from igw_runtime.models.artifact import (
    ModelPackage,
    check_program,
    locate_package,
    read_package,
    verify_digest,
)
from igw_runtime.models.decoding import DRAFT_FACTOR, ImageDecoder
from igw_runtime.models.golden import check_golden
from igw_runtime.models.preprocessing import Preprocessor, Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.cpu import CpuBudget
from igw_runtime.serving.sweep import Sweep, sweep_batches
from igw_runtime.settings import MAX_BATCH, ModelSettings, ServingSettings
from igw_runtime.telemetry import names

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = 4096
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model whose sessions are warm and whose golden answer was right."""

    served: ServedModel
    sessions: Sequence[Session]
    decoder: ImageDecoder
    preprocessor: Preprocessor
    sweep: Sweep | None


def load_models(
    models: Sequence[ModelSettings],
    serving: ServingSettings,
    models_root: Path,
    budget: CpuBudget,
) -> list[LoadedModel]:
    """Load all models, one after the other; one that cannot serve ends it for all."""
    alone = len(models) == 1
    loaded: list[LoadedModel] = []
    for number, model in enumerate(models):
        try:
            loaded.append(load_model(model, serving, models_root, budget, alone=alone))
            _check_distinct([it.served for it in loaded])
        except StartupError as error:
            if number == 0:
                raise
            message = f"additionalModels.{number - 1} ({model.name}): {error}"
            raise type(error)(message) from error
    return loaded


def load_model(
    model: ModelSettings,
    serving: ServingSettings,
    models_root: Path,
    budget: CpuBudget,
    *,
    alone: bool = True,
) -> LoadedModel:
    """Find, verify, compile, warm and check the model."""
    before = _read_resident_bytes()
    package = read_package(locate_package(model, models_root))
    verify_digest(package, model.sha256)
    chosen = choose_format(model.engine, package)
    check_program(chosen, model)
    side = package.manifest.preprocessing.crop
    workers = serving.workers or budget.threads
    options = EngineOptions(
        precision=resolve_precision(model.precision, package.manifest.precision),
        threads=max(workers, budget.threads),
        streams=workers,
        # Streams of several models would be bound to the same cores, and leave others idle.
        pin_threads=alone and not budget.limited,
        max_batch=MAX_BATCH if serving.max_batch == "auto" else serving.max_batch,
        side=side,
        torch_compile=model.torch_compile,
    )
    resize = package.manifest.preprocessing.resize
    decoder = ImageDecoder(
        serving.max_pixels, draft_side=0 if serving.exact else resize * DRAFT_FACTOR
    )
    preprocessor = Preprocessor(package.manifest.preprocessing, exact=serving.exact)
    golden = _read_golden(package, decoder, preprocessor)
    sweep = None
    if serving.max_batch == "auto":
        sweep = _sweep(package, open_engine(chosen, package, options), golden)
        options = replace(options, max_batch=sweep.chosen)
    engine = open_engine(chosen, package, options)
    sessions = [engine.open_session() for _ in range(workers)]
    sizes = sorted({1, options.max_batch})
    classes = [
        _warm(session, engine, package, golden, size) for session in sessions for size in sizes
    ]
    _check_labels(package, classes[0])
    served = _describe(
        model,
        package,
        engine,
        classes=classes[0],
        max_batch=options.max_batch,
        memory=_read_resident_bytes() - before,
    )
    _announce(served, workers)
    return LoadedModel(
        served=served,
        sessions=sessions,
        decoder=decoder,
        preprocessor=preprocessor,
        sweep=sweep,
    )


def resolve_precision(asked: str, packaged: str) -> str:
    """Return what to compute in: `auto` is the package's own; int8 is a property of weights."""
    if asked in {"auto", packaged}:
        return packaged
    if "int8" in {asked, packaged}:
        message = (
            f"model.precision is {asked}, but the package's weights are {packaged}; "
            "int8 needs a quantised package, and such a package runs only in int8"
        )
        raise ModelLoadFailedError(message)
    return asked


def _read_golden(
    package: ModelPackage, decoder: ImageDecoder, preprocessor: Preprocessor
) -> Tensor:
    try:
        image = decoder.decode(decoder.open(package.read_golden_image()))
    except RequestError as error:
        message = f"{package.location}: the golden image is unusable: {error}"
        raise GoldenCheckFailedError(message) from error
    return preprocessor(image)


def _sweep(package: ModelPackage, engine: Engine, golden: Tensor) -> Sweep:
    """Measure batches on an engine of its own: one that is compiled for a size is faster at it."""
    session = engine.open_session()
    _warm(session, engine, package, golden, 1)
    sweep = sweep_batches(session, golden, time.monotonic)
    _log.info(
        "batch_size_chosen",
        max_batch=sweep.chosen,
        milliseconds_per_image={
            str(size): round(cost * 1000, 3) for size, cost in sweep.costs.items()
        },
    )
    return sweep


def _warm(
    session: Session, engine: Engine, package: ModelPackage, golden: Tensor, size: int
) -> int:
    """Run one session's first inference of a size, check its answers, return how many classes.

    Each size of batch has code and memory of its own, made when it is first met: the first and
    the last are met here, one session after the other.
    """
    try:
        scores = session.infer(np.ascontiguousarray(np.stack([golden] * size)))
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = f"{package.location}: the first inference failed: {lines[-1]}"
        raise ModelLoadFailedError(message) from error
    for row in scores:
        problem = check_golden(package.manifest.golden, row, engine.precision)
        if problem:
            message = f"{package.location}: {problem}"
            raise GoldenCheckFailedError(message)
    return int(scores.shape[1])


def _check_labels(package: ModelPackage, classes: int) -> None:
    """A list that is one line off gives every answer the wrong name; nothing else would tell."""
    if len(package.labels) != classes:
        message = (
            f"{package.location}: {package.manifest.labels} names {len(package.labels)} classes, "
            f"the model has {classes}"
        )
        raise ModelLoadFailedError(message)


def _check_distinct(models: Sequence[ServedModel]) -> None:
    """Where the settings leave the version to the package, only the package tells."""
    *others, last = models
    if any((it.name, it.version) == (last.name, last.version) for it in others):
        message = f"version {last.version!r} of {last.name!r} is already served; give it another"
        raise InvalidSettingsError(message)


def _describe(
    settings: ModelSettings,
    package: ModelPackage,
    engine: Engine,
    *,
    classes: int,
    max_batch: int,
    memory: int,
) -> ServedModel:
    manifest = package.manifest
    return ServedModel(
        name=settings.name,
        version=settings.version or manifest.version,
        weights=str(manifest.weights),
        random_weights=manifest.weights.random,
        engine=engine.name,
        precision=engine.precision,
        device=engine.device,
        labels=package.labels,
        classes=classes,
        side=manifest.preprocessing.crop,
        probabilities=manifest.output == "probabilities",
        max_batch=max_batch,
        memory_bytes=max(0, memory),
    )


def _announce(served: ServedModel, workers: int) -> None:
    if served.random_weights:
        _log.warning(
            names.EVENT_RANDOM_WEIGHTS,
            model=served.name,
            weights=served.weights,
            consequence="predictions mean nothing; only speed is real",
        )
    _log.info(
        "model_loaded",
        model=served.name,
        version=served.version,
        engine=served.engine,
        precision=served.precision,
        weights=served.weights,
        workers=workers,
        memory_bytes=served.memory_bytes,
    )


def _read_resident_bytes() -> int:
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0
