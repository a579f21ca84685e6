"""The torch engine: `make test-export`, in the environment that has torch."""

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igw_runtime.engines.choice import open_engine
from igw_runtime.engines.protocol import Batch, EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import WEIGHTS_FILES, read_package
from igw_runtime.models.export import ExportOrder, export_model
from igw_runtime.serving.cpu import CpuBudget
from igw_runtime.serving.loading import load_model
from igw_runtime.settings import ModelSettings, ServingSettings
from runtime_kit.plugins import install

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("default"), pytest.mark.timeout(1200)]

OPTIONS = EngineOptions(
    precision="fp32", threads=1, streams=1, pin_threads=False, max_batch=4, side=32
)
# Small; its last view fits only the usual layout, as those of some real networks do.
PLUGIN = """
import torch
from igw_runtime.models.manifest import Preprocessing
from igw_runtime.models.registry import Architecture

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=4)
        self.head = torch.nn.Linear(4 * 8 * 8, 3)

    def forward(self, images):
        return self.head(self.conv(images).relu().{flatten})

def build():
    torch.manual_seed(0)
    return Small()

def describe():
    return Architecture(
        name="{name}",
        build=build,
        build_pretrained=lambda: (build(), "mine"),
        preprocessing=Preprocessing(resize=32, crop=32, mean=[0.5] * 3, std=[0.5] * 3),
        labels=lambda: ["cat", "dog", "newt"],
        trained_on="custom",
    )
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Export one small network in every format."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, flatten in (("small", "flatten(1)"), ("stiff", "view(-1, 4 * 8 * 8)")):
            code = PLUGIN.format(name=name, flatten=flatten)
            module = f"plugin_{name}"
            install(monkeypatch, folder / module, module, code, f"{name} = {module}:describe")
            order = ExportOrder(
                name=name,
                architecture=name,
                version="1",
                precision="fp32",
                output=folder,
                formats=list(WEIGHTS_FILES),
                allow_random_weights=False,
                seed=0,
            )
            export_model(order)
        yield folder


def images(count: int) -> Batch:
    """Return random images."""
    return np.random.default_rng(0).standard_normal((count, 3, 32, 32), dtype=np.float32)


def infer(package: Path, chosen: Any, batch: Batch, **changes: Any) -> tuple[Batch, str, str]:
    """Return scores, and the name and precision of the engine that gave them."""
    engine = open_engine(chosen, read_package(package), dataclasses.replace(OPTIONS, **changes))
    return engine.open_session().infer(batch), engine.name, engine.precision


@pytest.mark.parametrize("model", ["small", "stiff"])
@pytest.mark.parametrize("chosen", ["torch", "exported", "torchscript"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_each_format_answers_as_openvino_does(
    models: Path, model: str, chosen: Any, precision: str, tolerance: float
) -> None:
    """State dict, exported program and TorchScript, in batches of any size, in any layout."""
    expected, _, _ = infer(models / model, "openvino", images(3))
    scores, name, computed = infer(models / model, chosen, images(3), precision=precision)

    assert (name, computed) == ("torch", precision)
    np.testing.assert_allclose(scores, expected, atol=tolerance)
    if precision == "bf16":
        assert np.abs(scores - expected).max() > 1e-5  # or it was computed in fp32


def test_convolutions_get_the_layout_that_they_like(models: Path) -> None:
    """Unless a view in the network does not fit it."""
    import torch  # noqa: PLC0415

    layouts = {}
    for name in ("small", "stiff"):
        engine: Any = open_engine("torch", read_package(models / name), OPTIONS)
        layouts[name] = engine._placement["memory_format"]

    assert layouts == {"small": torch.channels_last, "stiff": torch.contiguous_format}


@pytest.mark.parametrize("chosen", ["torch", "exported"])
def test_compiled_network_meets_no_new_size_when_it_serves(models: Path, chosen: Any) -> None:
    """All is compiled when the engine is opened, by one thread: one image, and any other number.

    Needs g++, as `torch.compile` does.
    """
    from torch._dynamo.utils import counters  # noqa: PLC0415

    expected, _, _ = infer(models / "small", "openvino", images(4))
    options = dataclasses.replace(OPTIONS, torch_compile=True)
    engine = open_engine(chosen, read_package(models / "small"), options)
    compiled = counters["stats"]["unique_graphs"]
    scores: list[Batch] = []

    def work() -> None:
        session = engine.open_session()
        scores.extend(session.infer(images(count)) for count in (1, 3, 4))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (engine.name, compiled) == ("torch_compile", counters["stats"]["unique_graphs"])
    assert sorted(len(each) for each in scores) == [1, 1, 3, 3, 4, 4]
    for each in scores:
        np.testing.assert_allclose(each, expected[: len(each)], atol=1e-5)


def test_sessions_do_not_meet_in_each_others_batches(models: Path) -> None:
    """Each in its own thread, again and again: on a GPU memory is reused while copies are on."""
    engine = open_engine("torch", read_package(models / "small"), OPTIONS)
    batches = [images(size) * (1 + size) for size in (1, 2, 3, 4)]
    expected = [engine.open_session().infer(batch) for batch in batches]

    def work(number: int) -> list[Batch]:
        session = engine.open_session()
        return [session.infer(batches[number]) for _ in range(50)]

    with ThreadPoolExecutor(len(batches)) as pool:
        for alone, together in zip(expected, pool.map(work, range(len(batches))), strict=True):
            for scores in together:
                np.testing.assert_allclose(scores, alone, rtol=1e-5)


def test_compiler_that_is_missing_is_one_line(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image of the `torch` target has none."""
    import torch  # noqa: PLC0415

    torch._dynamo.reset()
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    with pytest.raises(ModelLoadFailedError, match=r"No working C\+\+ compiler") as caught:
        infer(models / "small", "torch", images(1), torch_compile=True)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "changes", "message"),
    [
        ("torch", {"precision": "int8"}, "runs fp32, fp16, bf16; int8 needs the openvino engine"),
        ("torch", {"precision": "fp16"}, "fp16 needs a GPU, and torch finds none here"),
        ("torchscript", {"torch_compile": True}, "torch does not compile TorchScript"),
    ],
)
def test_what_cannot_be_done_is_said(
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: Any,
    changes: dict[str, Any],
    message: str,
) -> None:
    """Nothing is computed in another way than the one that was asked for."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelLoadFailedError, match=message):
        infer(models / "small", chosen, images(1), **changes)


class Nasty:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-here"),))


def test_pickle_that_could_run_code_is_refused(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole module, or worse, in place of a state dict: nothing of it is executed."""
    import torch  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    shutil.copytree(models / "small", tmp_path / "small")
    torch.save({"head.weight": Nasty()}, tmp_path / "small" / "model.pt")

    with pytest.raises(ModelLoadFailedError, match=r"model\.pt holds more than tensors"):
        infer(tmp_path / "small", "torch", images(1))
    assert not Path("was-here").exists()


@pytest.mark.parametrize("chosen", ["torch", "exported", "torchscript"])
def test_broken_file_is_one_line(models: Path, tmp_path: Path, chosen: Any) -> None:
    """Whatever torch makes of it."""
    shutil.copytree(models / "small", tmp_path / "small")
    path = tmp_path / "small" / WEIGHTS_FILES[chosen]
    path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(ModelLoadFailedError, match="torch cannot load") as caught:
        infer(tmp_path / "small", chosen, images(1))
    assert "\n" not in str(caught.value)


def test_program_is_served_warm_and_pinned(models: Path) -> None:
    """From the image as it is; from elsewhere only with its digest (test_artifact)."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    budget = CpuBudget(threads=2, quota_cores=2.0, limited=True, stat_path=None)
    settings = ModelSettings(name="small", engine="torch", precision="bf16")
    loaded = load_model(settings, ServingSettings(maxBatch=4), models, budget)

    assert (loaded.served.engine, loaded.served.precision) == ("torch", "bf16")
    assert len(loaded.sessions) == 2


def test_fp32_is_not_tf32(models: Path) -> None:
    """What is exported as fp32 is computed in fp32, also by a GPU's convolutions."""
    import torch  # noqa: PLC0415

    # Not by monkeypatch: these are no attributes that could be deleted again.
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    scores, _, precision = infer(models / "small", "torch", images(2))

    assert scores.shape == (2, 3)
    assert precision == "fp32"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
