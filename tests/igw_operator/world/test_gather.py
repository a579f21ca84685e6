from typing import Any

import pytest

from factories import RUNTIME_IMAGE, a_gateway, live_gateway_manifest
from igw_operator import conventions, kinds
from igw_operator.errors import SpecError
from igw_operator.world.cache import Cache
from igw_operator.world.gather import observe, resolve_runtime


def a_live_runtime(name: str, *, is_default: bool = False, **spec: Any) -> dict[str, Any]:
    """An InferenceRuntime as the API server returns it."""
    annotations = {conventions.ANNOTATION_DEFAULT_RUNTIME: "true"} if is_default else {}
    return {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {"name": name, "annotations": annotations, "resourceVersion": "1"},
        "spec": {"image": RUNTIME_IMAGE} | spec,
    }


def test_a_named_runtime_is_found() -> None:
    """Whether it is the default or not."""
    gateway = a_gateway(runtimeRef={"name": "gpu"})
    runtimes = [a_live_runtime("cpu", is_default=True), a_live_runtime("gpu")]
    assert resolve_runtime(gateway, runtimes).name == "gpu"


def test_without_a_name_the_default_serves() -> None:
    """The one that is annotated."""
    runtimes = [a_live_runtime("cpu", is_default=True), a_live_runtime("gpu")]
    assert resolve_runtime(a_gateway(), runtimes).name == "cpu"


@pytest.mark.parametrize(
    ("reference", "runtimes", "says"),
    [
        pytest.param({"name": "tpu"}, ["cpu"], "'tpu'; there are: cpu", id="an unknown name"),
        pytest.param({"name": "tpu"}, [], "there is none at all", id="no runtime at all"),
        pytest.param(None, ["cpu"], "is-default-runtime", id="no default"),
    ],
)
def test_a_missing_runtime_is_an_error_of_the_field(
    reference: dict[str, str] | None, runtimes: list[str], says: str
) -> None:
    """It names the runtimes that there are."""
    gateway = a_gateway(runtimeRef=reference)
    with pytest.raises(SpecError, match=says) as error:
        resolve_runtime(gateway, [a_live_runtime(name) for name in runtimes])
    assert error.value.errors[0].path.startswith("spec.runtimeRef")


def test_two_defaults_are_an_error_that_names_both() -> None:
    """Nobody guesses."""
    runtimes = [a_live_runtime(name, is_default=True) for name in ("b", "a")]
    with pytest.raises(SpecError, match="a, b"):
        resolve_runtime(a_gateway(), runtimes)


def test_an_invalid_runtime_is_said_at_the_gateway_too() -> None:
    """With the runtime's own field."""
    with pytest.raises(SpecError, match=r"'cpu' is invalid: spec\.image"):
        resolve_runtime(a_gateway(), [a_live_runtime("cpu", is_default=True, image="a b")])


@pytest.mark.parametrize(
    ("model", "is_wrong"),
    [
        pytest.param({"name": "resnet50"}, False, id="a model of the image"),
        pytest.param({"name": "nonesuch"}, True, id="a model that it lacks"),
        pytest.param({"name": "nonesuch", "uri": "pvc://c/x"}, False, id="a package of one's own"),
    ],
)
def test_a_model_is_checked_against_the_runtime(model: dict[str, str], *, is_wrong: bool) -> None:
    """Where the runtime says what it has and the gateway brings none."""
    cache = Cache()
    runtime = a_live_runtime("cpu", is_default=True, models=["resnet50"])
    cache.put(kinds.RUNTIME, runtime)
    observation = observe(cache, live_gateway_manifest(model=model), "t1")
    assert (observation.spec_error is not None) is is_wrong
    assert observation.gateway is not None
    assert observation.runtime is not None


def test_each_additional_model_is_checked_too() -> None:
    """The error is at the one that is not there."""
    cache = Cache()
    cache.put(kinds.RUNTIME, a_live_runtime("cpu", is_default=True, models=["resnet50"]))
    more = [{"name": "resnet50", "version": "2"}, {"name": "nonesuch"}]
    observation = observe(cache, live_gateway_manifest(additionalModels=more), "t1")
    assert observation.spec_error is not None
    (error,) = observation.spec_error.errors
    assert error.path == "spec.additionalModels[1].name"
