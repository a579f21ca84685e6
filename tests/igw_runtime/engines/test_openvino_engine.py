import tarfile
from pathlib import Path

import numpy as np
import pytest

from igw_runtime.engines.openvino_engine import OpenVinoEngine
from igw_runtime.engines.protocol import EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import read_package
from runtime_kit.colours import SIDE, ColourSession, write_package

pytestmark = pytest.mark.timeout(30)


def options(precision: str = "fp32", max_batch: int = 1) -> EngineOptions:
    """Return options for one thread."""
    return EngineOptions(
        precision=precision,
        threads=1,
        streams=1,
        pin_threads=False,
        max_batch=max_batch,
        side=SIDE,
    )


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return random images."""
    return np.random.default_rng(0).random((count, 3, SIDE, SIDE), dtype=np.float32)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the package once."""
    return write_package(tmp_path_factory.mktemp("models") / "colours")


def test_answers_as_the_reference_does(package: Path) -> None:
    """The compiled network computes what numpy computes, in the precision that was asked."""
    engine = OpenVinoEngine(read_package(package), options())

    scores = engine.open_session().infer(images(1))

    assert engine.precision == "fp32"
    np.testing.assert_allclose(scores, ColourSession().infer(images(1)), atol=1e-4)


def test_result_survives_the_next_inference(package: Path) -> None:
    """Scores are copied out of the request's buffer."""
    session = OpenVinoEngine(read_package(package), options()).open_session()

    first = session.infer(images(1))
    kept = first.copy()
    session.infer(np.zeros((1, 3, SIDE, SIDE), dtype=np.float32))

    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_batches_up_to_the_limit(package: Path, count: int) -> None:
    """A batch of any size within the limit gives one row an image."""
    session = OpenVinoEngine(read_package(package), options(max_batch=4)).open_session()

    np.testing.assert_allclose(
        session.infer(images(count)), ColourSession().infer(images(count)), atol=1e-4
    )


def test_archive_is_loaded_from_memory(package: Path, tmp_path: Path) -> None:
    """A tar on a read-only file system serves without being unpacked."""
    path = tmp_path / "colours.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(package, arcname=".")

    session = OpenVinoEngine(read_package(path), options()).open_session()

    np.testing.assert_allclose(
        session.infer(images(1)), ColourSession().infer(images(1)), atol=1e-4
    )


def test_broken_topology_is_one_line(tmp_path: Path) -> None:
    """OpenVINO's page of C++ becomes a message that fits a status field."""
    folder = write_package(tmp_path / "colours")
    (folder / "model.xml").write_text("<net/>")

    with pytest.raises(ModelLoadFailedError) as caught:
        OpenVinoEngine(read_package(folder), options())

    assert "\n" not in str(caught.value)


def test_half_precision_is_for_gpus(package: Path) -> None:
    """What cannot be computed in is refused, not replaced."""
    with pytest.raises(ModelLoadFailedError, match="runs fp32, bf16, int8; fp16 needs the torch"):
        OpenVinoEngine(read_package(package), options("fp16"))
