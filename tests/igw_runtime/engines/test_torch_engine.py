"""The torch engine: `make test-export`, in the environment that has torch."""

from pathlib import Path

import numpy as np
import pytest

from igw_runtime.engines.protocol import EngineOptions
from igw_runtime.models.artifact import read_package
from igw_runtime.models.export import ExportOrder, export_model

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


def test_fp32_is_not_tf32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported as fp32 is computed in fp32, also by a GPU's convolutions."""
    import torch  # noqa: PLC0415

    from igw_runtime.engines.torch_engine import TorchEngine  # noqa: PLC0415

    # Not by monkeypatch: these are no attributes that could be deleted again.
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-weights-here"))
    order = ExportOrder(
        name="small",
        architecture="squeezenet1_1",
        version="1",
        precision="fp32",
        output=tmp_path,
        formats=["torch"],
        allow_random_weights=True,
        seed=1,
    )
    export_model(order)
    options = EngineOptions(
        precision="fp32", threads=1, streams=1, pin_threads=False, max_batch=2, side=224
    )

    engine = TorchEngine(read_package(tmp_path / "small"), options)
    scores = engine.open_session().infer(np.zeros((2, 3, 224, 224), dtype=np.float32))

    assert scores.shape == (2, 1000)
    assert engine.precision == "fp32"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
