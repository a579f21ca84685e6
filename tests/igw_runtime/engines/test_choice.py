from pathlib import Path
from typing import Any

import pytest

from igw_runtime.engines.choice import choose_format, open_engine
from igw_runtime.engines.protocol import EngineOptions
from igw_runtime.errors import ModelLoadFailedError
from igw_runtime.models.artifact import ModelPackage
from igw_runtime.models.labels import Labels
from runtime_kit.colours import build_manifest


def a_package(*formats: Any) -> ModelPackage:
    """Return a package that claims these formats."""
    manifest = build_manifest().model_copy(update={"formats": list(formats)})
    return ModelPackage(location=Path("/m"), manifest=manifest, labels=Labels(()))


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (["openvino"], "openvino"),
        (["torch"], "torch"),
        (["torch", "openvino"], "openvino"),
        (["exported", "openvino"], "openvino"),
        (["torchscript"], "torchscript"),
        (["torchscript", "exported"], "exported"),
        (["exported", "torchscript", "torch"], "torch"),
    ],
)
def test_auto_prefers_openvino_without_a_gpu(formats: list[str], expected: str) -> None:
    """On a CPU the fast, small engine is taken where the package allows it; numbers before code."""
    assert expected == choose_format("auto", a_package(*formats))


def test_asked_engine_must_be_in_the_package() -> None:
    """An explicit wish is never silently replaced."""
    with pytest.raises(ModelLoadFailedError, match="has no torch files; it has: openvino"):
        choose_format("torch", a_package("openvino"))


def test_torch_may_be_asked_for_beside_openvino() -> None:
    """Any of its formats will do."""
    assert choose_format("torch", a_package("openvino", "exported")) == "exported"
    with pytest.raises(ModelLoadFailedError, match="has no openvino files; it has: torchscript"):
        choose_format("openvino", a_package("torchscript"))


def test_compiling_by_torch_is_not_silently_left_out() -> None:
    """Who asks for it measures something else otherwise."""
    options = EngineOptions(
        precision="fp32",
        threads=1,
        streams=1,
        pin_threads=False,
        max_batch=1,
        side=32,
        torch_compile=True,
    )
    with pytest.raises(ModelLoadFailedError, match=r"torchCompile .* openvino was chosen"):
        open_engine("openvino", a_package("openvino"), options)
