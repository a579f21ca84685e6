import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from igw_runtime.engines.protocol import Batch, EngineOptions
from igw_runtime.errors import (
    GoldenCheckFailedError,
    InvalidSettingsError,
    ModelDigestMismatchError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.serving import loading
from igw_runtime.serving.cpu import CpuBudget
from igw_runtime.serving.loading import LoadedModel, load_model, load_models, resolve_precision
from igw_runtime.serving.sweep import Sweep
from igw_runtime.settings import ModelSettings, ServingSettings
from runtime_kit.colours import RED, ColourSession, picture, write_package

pytestmark = pytest.mark.timeout(30)
MODEL = ModelSettings(name="colours")
BUDGET = CpuBudget(threads=2, quota_cores=2.0, limited=True, stat_path=None)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the package once."""
    return write_package(tmp_path_factory.mktemp("models") / "colours")


@pytest.fixture
def models(original: Path, tmp_path: Path) -> Path:
    """Return a models folder that a test may damage."""
    shutil.copytree(original, tmp_path / "colours")
    return tmp_path


def change(models: Path, **parts: Any) -> None:
    """Replace parts of the manifest."""
    path = models / "colours" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def load(models: Path, **fields: Any) -> LoadedModel:
    """Load the package with two CPUs."""
    settings = ModelSettings.model_validate({"name": "colours", **fields})
    return load_model(settings, ServingSettings(), models, BUDGET)


def test_loaded_model_states_how_it_is_run(models: Path) -> None:
    """One warm session a CPU, the package's version unless the settings name one."""
    loaded = load(models)

    assert len(loaded.sessions) == 2
    assert (
        loaded.served.precision,
        loaded.served.engine,
        loaded.served.version,
        loaded.served.classes,
    ) == ("fp32", "openvino", "1", 4)
    assert load(models, version="7").served.version == "7"


def test_only_exact_mode_decodes_every_pixel(models: Path) -> None:
    """By default a large JPEG is decoded as a draft; who asks for exactness pays for all of it."""
    content = picture(RED, size=(400, 300), kind="JPEG")
    for exact, size in ((False, (100, 75)), (True, (400, 300))):
        loaded = load_model(MODEL, ServingSettings(exact=exact), models, BUDGET)
        image = loaded.decoder.decode(loaded.decoder.open(content))
        assert image.size == size


class Recorded:
    """A session that says in which order it was used, and with which sizes."""

    def __init__(self, number: int, calls: list[tuple[int, int]], wrong_from: int = 99) -> None:
        self._number, self._calls, self._wrong_from = number, calls, wrong_from

    def infer(self, batch: Batch) -> Batch:
        self._calls.append((self._number, len(batch)))
        scores = ColourSession().infer(batch)
        scores[self._wrong_from :] = 0
        return scores


class RecordedEngine:
    name, precision, device = "openvino", "fp32", "cpu"

    def __init__(self, calls: list[tuple[int, int]], wrong_from: int = 99) -> None:
        self._calls, self._wrong_from = calls, wrong_from
        self._opened = 0

    def open_session(self) -> Recorded:
        self._opened += 1
        return Recorded(self._opened, self._calls, self._wrong_from)


def test_each_session_is_warmed_with_one_image_and_with_the_largest_batch(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first full batch under load is not the first one ever; sessions take turns."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(loading, "open_engine", lambda *_: RecordedEngine(calls))
    load_model(MODEL, ServingSettings(maxBatch=4), models, BUDGET)

    assert calls == [(1, 1), (1, 4), (2, 1), (2, 4)]


def test_wrong_answer_inside_a_batch_is_not_served(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The golden picture is checked in every place of a batch."""
    monkeypatch.setattr(loading, "open_engine", lambda *_: RecordedEngine([], wrong_from=3))
    with pytest.raises(GoldenCheckFailedError):
        load_model(MODEL, ServingSettings(maxBatch=4), models, BUDGET)


def test_batch_size_is_swept_where_that_is_asked_for(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One engine is measured, another one is compiled for what was found, and warmed."""
    calls: list[tuple[int, int]] = []
    opened: list[int] = []

    def open_engine(_chosen: str, _package: object, options: EngineOptions) -> RecordedEngine:
        opened.append(options.max_batch)
        calls.clear()
        return RecordedEngine(calls)

    monkeypatch.setattr(loading, "open_engine", open_engine)
    costs = {1: 0.010, 2: 0.009, 4: 0.006, 8: 0.0059}
    monkeypatch.setattr(loading, "sweep_batches", lambda *_: Sweep(costs=costs))
    with capture_logs() as logs:
        loaded = load_model(MODEL, ServingSettings(maxBatch="auto"), models, BUDGET)

    assert loaded.served.max_batch == 4
    assert opened == [64, 4]
    assert calls == [(1, 1), (1, 4), (2, 1), (2, 4)]
    [line] = [line for line in logs if line["event"] == "batch_size_chosen"]
    assert line["milliseconds_per_image"]["4"] == 6.0


def load_all(models: Path, *settings: dict[str, Any]) -> list[LoadedModel]:
    """Load several packages."""
    parsed = [ModelSettings.model_validate(each) for each in settings]
    return load_models(parsed, ServingSettings(), models, BUDGET)


def test_several_models_are_loaded_in_their_order(models: Path) -> None:
    """One package may be served under several names and versions."""
    uri = f"file://{models}/colours"
    loaded = load_all(models, {"name": "colours"}, {"name": "b", "version": "3", "uri": uri})

    assert [(it.served.name, it.served.version) for it in loaded] == [("colours", "1"), ("b", "3")]
    assert [len(it.sessions) for it in loaded] == [2, 2]


@pytest.mark.parametrize("settings", [[MODEL], [MODEL, ModelSettings(name="colours", version="2")]])
def test_streams_are_bound_to_cores_for_one_model_only(
    models: Path, monkeypatch: pytest.MonkeyPatch, settings: list[ModelSettings]
) -> None:
    """Those of several would be bound to the same ones, and leave others idle."""
    pinned: list[bool] = []

    def open_engine(_chosen: str, _package: object, options: EngineOptions) -> RecordedEngine:
        pinned.append(options.pin_threads)
        return RecordedEngine([])

    monkeypatch.setattr(loading, "open_engine", open_engine)
    load_models(settings, ServingSettings(), models, replace(BUDGET, limited=False))

    assert pinned == [len(settings) == 1] * len(settings)


@pytest.mark.parametrize(
    ("second", "kind", "says"),
    [
        (
            {"name": "other"},
            ModelNotFoundError,
            "additionalModels.0 (other): no model 'other' in",
        ),
        (
            {"name": "colours", "version": "1"},
            InvalidSettingsError,
            "additionalModels.0 (colours): version '1' of 'colours' is already served",
        ),
        (
            {"name": "colours", "version": "2", "sha256": "0" * 64},
            ModelDigestMismatchError,
            "additionalModels.0 (colours): ",
        ),
    ],
    ids=["not there", "the version that the package of the first states", "another package"],
)
def test_one_model_that_cannot_serve_ends_the_start(
    models: Path, second: dict[str, Any], kind: type[Exception], says: str
) -> None:
    """With its own reason, and its place in the settings."""
    with pytest.raises(kind) as caught:
        load_all(models, {"name": "colours"}, second)
    assert str(caught.value).startswith(says)


def test_number_is_taken_as_it_is(models: Path) -> None:
    """Who sets a size has reasons; nothing is measured."""
    loaded = load_model(MODEL, ServingSettings(maxBatch=3), models, BUDGET)

    assert (loaded.served.max_batch, loaded.sweep) == (3, None)


@pytest.mark.pain(10)
def test_wrong_golden_answer_is_not_served(models: Path) -> None:
    """Weights that do not belong to the package never become ready."""
    manifest = json.loads((models / "colours" / "model.json").read_text())
    golden = manifest["golden"] | {"logits": [value + 1 for value in manifest["golden"]["logits"]]}
    change(models, golden=golden)

    with pytest.raises(GoldenCheckFailedError, match="golden image scores deviate"):
        load(models)


def test_unreadable_golden_image_is_not_served(models: Path) -> None:
    """A check that cannot be made has failed."""
    (models / "colours" / "golden.png").write_bytes(b"no image")

    with pytest.raises(GoldenCheckFailedError, match="unusable"):
        load(models)


@pytest.mark.parametrize("names", ["red\ngreen\nblue\n", "_\nred\ngreen\nblue\ndark\n"])
def test_labels_of_another_length_are_not_served(models: Path, names: str) -> None:
    """A list with a line too many would give every answer the wrong name."""
    (models / "colours" / "labels.txt").write_text(names)

    with pytest.raises(ModelLoadFailedError, match=r"labels.txt names \d classes, .* has 4"):
        load(models)


def test_golden_answer_without_all_its_numbers_is_explained(models: Path) -> None:
    """The message names the key of the manifest."""
    manifest = json.loads((models / "colours" / "model.json").read_text())
    change(models, golden=manifest["golden"] | {"logits": [1.0]})

    with pytest.raises(ModelLoadFailedError, match=r"golden: .*4 indices, but 1 logits"):
        load(models)


def test_random_weights_are_a_warning(models: Path) -> None:
    """Nobody mistakes an untrained network for a model."""
    change(models, weights={"source": "random", "seed": 3})
    with capture_logs() as logs:
        loaded = load(models)

    assert loaded.served.weights == "random(seed=3)"
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert warning["weights"] == "random(seed=3)"


def test_program_from_a_volume_is_not_even_read_without_a_pin(models: Path) -> None:
    """It is refused before torch, which is not here, is looked for."""
    change(models, formats=["exported"])
    (models / "colours" / "model.pt2").write_bytes(b"anything")

    with pytest.raises(ModelLoadFailedError, match=r"model.pt2 is a program"):
        load(models, uri=f"file://{models}/colours")


def test_missing_weights_file_fails_the_load(models: Path) -> None:
    """A package without its numbers is a load failure with one line."""
    (models / "colours" / "model.bin").unlink()

    with pytest.raises(ModelLoadFailedError):
        load(models)


@pytest.mark.parametrize(
    ("asked", "packaged", "expected"),
    [("auto", "bf16", "bf16"), ("fp32", "bf16", "fp32"), ("int8", "int8", "int8")],
)
def test_precision_is_the_packages_unless_asked(asked: str, packaged: str, expected: str) -> None:
    """fp32 and bf16 are ways to compute; the settings may choose."""
    assert expected == resolve_precision(asked, packaged)


@pytest.mark.parametrize(("asked", "packaged"), [("int8", "fp32"), ("fp32", "int8")])
def test_int8_is_a_property_of_the_weights(asked: str, packaged: str) -> None:
    """Quantisation happens at export; pretending is refused."""
    with pytest.raises(ModelLoadFailedError, match="int8"):
        resolve_precision(asked, packaged)
