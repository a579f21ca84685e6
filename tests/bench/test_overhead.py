import sys
from pathlib import Path

import pytest

from bench.runtime.overhead import EVERYTHING, OFF, VARIANTS, Spent, Workshop, describe
from bench.runtime.processes import started
from bench.runtime.sampler import find_place
from igw_runtime.telemetry.histogram import LiveHistogram
from runtime_kit import colours
from runtime_kit.process import fetch, wait_until


@pytest.mark.integration
@pytest.mark.parametrize("name", [OFF, "metrics", "logs", EVERYTHING])
def test_a_pillar_that_is_taken_out_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    """Else the table would compare a server with itself."""
    package = colours.write_package(tmp_path / "models" / "colours")
    variant = next(it for it in VARIANTS if it.name == name)
    shop = Workshop(folder=tmp_path, package=package, precision="fp32", endpoint="")
    with started(shop.build(variant), tmp_path / "server", [colours.picture(kind="JPEG")]) as it:
        _, answer = fetch(it.launch.url, it.bodies[0], it.headers)
        _, metrics = fetch(it.launch.url.replace("/predict", "/metrics"))
        counted = b'model_predictions_total{model="colours",prediction_class="red"} 2.0' in metrics
        assert b'"prediction":"red"' in answer
        assert counted == ("metrics" in variant.pillars)
        assert (b"0" * 32 not in answer) == ("traces" in variant.pillars)
        if "logs" in variant.pillars:
            wait_until(lambda: "request_completed" in it.log.read_text())
        it.process.terminate()
        it.process.wait(20)
        assert ("request_completed" in it.log.read_text()) == ("logs" in variant.pillars)


def test_turns_are_compared_with_the_ones_beside_them() -> None:
    """A machine that was slow for a while was slow for both."""
    off = Spent(seconds=[1.0, 2.0, 1.0], answers=[100, 100, 100])
    here = Spent(seconds=[1.1, 2.2, 1.2], answers=[100, 100, 100])
    found = describe(here, off)
    assert found["ratio"] == pytest.approx(1.1)
    assert found["ratio_high"] == pytest.approx(1.2)
    assert found["more_seconds_each"] == pytest.approx(0.5 / 300)


def test_a_sample_belongs_to_the_innermost_function_of_ours() -> None:
    """Whatever it has called; who waits, or computes in the engine, is nobody."""

    def look(_samples: object) -> int:
        found.append(find_place(sys._getframe()))
        return 0

    def wait() -> str:
        return find_place(sys._getframe())

    found: list[str] = []
    lag = LiveHistogram("x", "", labels=["a"], buckets=[1.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("igw_runtime.telemetry.histogram.bisect_left", lambda *_: look(None))
        lag.observe(1, "b")
    assert found == ["telemetry.histogram.LiveHistogram.observe"]
    assert find_place(sys._getframe()) == "(asyncio, uvicorn, h11)"
    assert wait() == ""
