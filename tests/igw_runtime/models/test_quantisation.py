"""Quantising a trained network: `make test-export`.

The pictures are parts of two photographs: enough for int8 to be measured by, not to be proud of.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igw_runtime.__main__ import main
from igw_runtime.errors import AccuracyGateError, InvalidPicturesError, InvalidSettingsError
from igw_runtime.models.artifact import read_package
from igw_runtime.models.export import ExportOrder, export_model
from igw_runtime.models.gate import GateLimits
from igw_runtime.models.manifest import Quantisation
from igw_runtime.models.quantisation import QuantisationOrder
from igw_runtime.serving.cpu import CpuBudget
from igw_runtime.serving.loading import load_model
from igw_runtime.settings import MetricsSettings, ModelSettings, ServingSettings
from igw_runtime.telemetry.metrics import Metrics
from runtime_kit.colours import picture

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

PHOTOGRAPHS = Path("tests/pictures")
LIMITS = GateLimits(min_agreement=0.7, max_accuracy_drop=0.2, min_pictures=20)
ESPRESSO = 967


def cut(name: str, folder: Path, sides: Sequence[int]) -> list[str]:
    """Cut a photograph into squares of some sizes; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    photograph = Image.open(PHOTOGRAPHS / name)
    names = []
    for side in sides:
        for left in range(0, photograph.width - side + 1, side // 2):
            for top in range(0, photograph.height - side + 1, side // 2):
                part = photograph.crop((left, top, left + side, top + side))
                names.append(f"{name}-{side}-{left}-{top}.png")
                part.save(folder / names[-1])
    return names


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the three folders; no picture is in two of them."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("chelsea.jpg", "coffee.jpg"):
        cut(name, folder / "calibration", [160])
    cut("chelsea.jpg", folder / "evaluation", [200])
    cups = cut("coffee.jpg", folder / "evaluation", [200, 300])
    (folder / "evaluation" / "val_map.txt").write_text(
        "".join(f"{name} {ESPRESSO}\n" for name in cups)
    )
    (folder / "black").mkdir()
    (folder / "black" / "black.png").write_bytes(picture((0, 0, 0)))
    return folder


Export = Callable[..., Quantisation]


@pytest.fixture
def export(pictures: Path, tmp_path: Path) -> Export:
    """Return how EfficientNet-Lite0 is quantised, with its trained weights."""

    def run(calibration: str = "calibration", **changes: Any) -> Quantisation:
        order: dict[str, Any] = {
            "name": "lite",
            "architecture": "efficientnet_lite0",
            "version": "1",
            "precision": "int8",
            "output": tmp_path,
            "formats": ["openvino"],
            "allow_random_weights": False,
            "seed": 0,
            "quantisation": QuantisationOrder(
                calibration=pictures / calibration,
                evaluation=pictures / "evaluation",
                calibration_images=24,
                limits=LIMITS,
            ),
        }
        made = export_model(ExportOrder(**(order | changes))).quantisation
        assert made
        return made

    return run


def test_quantised_network_is_served_as_int8(export: Export, tmp_path: Path) -> None:
    """A quarter of the size, with an answer of its own to its golden picture, and the label."""
    made = export()
    package = read_package(tmp_path / "lite")
    settings = ModelSettings(name="lite")
    budget = CpuBudget(threads=2, quota_cores=2.0, limited=True, stat_path=None)
    loaded = load_model(settings, ServingSettings(maxBatch=2), tmp_path, budget)
    metrics = Metrics(MetricsSettings())
    metrics.models.show(loaded.served)
    labels = {"model": "lite", "version": "1", "engine": "openvino", "device": "cpu"}
    labels["weights"] = str(package.manifest.weights)

    assert (made.gate.applied, made.calibration.count) == (True, 24)
    assert made.gate.agreement >= LIMITS.min_agreement
    assert made.gate.labelled > 0
    assert json.loads((tmp_path / "lite" / "model.json").read_text())["quantisation"] == (
        made.model_dump()
    )
    assert (tmp_path / "lite" / "model.bin").stat().st_size < 6_000_000
    assert package.manifest.golden.tolerance["int8"] < 0.2
    assert metrics.registry.get_sample_value(
        "igw_runtime_model_info", labels | {"precision": "int8"}
    )


def test_worse_network_is_not_written(export: Export, tmp_path: Path) -> None:
    """Ranges that were measured on a black picture cut off nearly everything."""
    with pytest.raises(AccuracyGateError, match=r"agrees with fp32 on \d+\.\d\d% of the pictures"):
        export("black")

    assert not list(tmp_path.iterdir())


def test_quantising_again_gives_the_same_network(export: Export, tmp_path: Path) -> None:
    """What is in the manifest says what was made."""
    made = export()
    weights = (tmp_path / "lite" / "model.bin").read_bytes()

    assert export() == made
    assert (tmp_path / "lite" / "model.bin").read_bytes() == weights


def test_calibration_is_no_evaluation(export: Export, pictures: Path) -> None:
    """Said before anything is downloaded or converted."""
    order = QuantisationOrder(
        calibration=pictures / "evaluation",
        evaluation=pictures / "evaluation",
        calibration_images=24,
        limits=LIMITS,
    )
    with pytest.raises(InvalidPicturesError, match="are in the calibration too"):
        export(quantisation=order)


def test_evaluation_that_cannot_fail_is_refused(export: Export, pictures: Path) -> None:
    """One picture is not a test."""
    order = QuantisationOrder(
        calibration=pictures / "calibration",
        evaluation=pictures / "black",
        calibration_images=24,
        limits=LIMITS,
    )
    with pytest.raises(InvalidPicturesError, match=r"1 different picture.* at least 20"):
        export(quantisation=order)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantisation": None}, "int8 needs --calibration and --evaluation"),
        ({"precision": "bf16"}, "--calibration and --evaluation are for --precision int8"),
        ({"formats": ["openvino", "torch"]}, "int8 is for --formats openvino alone"),
    ],
)
def test_options_that_do_not_go_together(
    export: Export, changes: dict[str, Any], message: str
) -> None:
    """Explained by their names on the command line."""
    with pytest.raises(InvalidSettingsError, match=message):
        export(**changes)


def test_untrained_network_is_measured_but_not_judged(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has nothing to lose, and says so; the command is the one of the image's build."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-weights-here"))
    monkeypatch.setattr("torch.hub.download_url_to_file", _refuse)
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    command = ["export", "--model", "tiny", "--architecture", "squeezenet1_1", "--output"]
    command += [str(tmp_path), "--precision", "int8", "--allow-random-weights"]
    command += ["--calibration", str(pictures / "calibration"), "--calibration-images", "8"]
    main([*command, "--evaluation", str(pictures / "evaluation")])
    manifest = read_package(tmp_path / "tiny").manifest

    assert codes == [0]
    assert str(manifest.weights) == "random(seed=0)"
    assert manifest.quantisation
    assert not manifest.quantisation.gate.applied
    assert np.isfinite(manifest.quantisation.gate.agreement)


def _refuse(*_: object, **__: object) -> None:
    message = "no network"
    raise OSError(message)
