from pathlib import Path
from typing import Any

import pytest

from igw_runtime.engines.choice import choose_engine
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
    ],
)
def test_auto_prefers_openvino_without_a_gpu(formats: list[str], expected: str) -> None:
    """On a CPU the fast, small engine is taken where the package allows it."""
    assert expected == choose_engine("auto", a_package(*formats))


def test_asked_engine_must_be_in_the_package() -> None:
    """An explicit wish is never silently replaced."""
    with pytest.raises(ModelLoadFailedError, match="has no torch files; it has: openvino"):
        choose_engine("torch", a_package("openvino"))
