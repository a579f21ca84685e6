import numpy as np

from igw_runtime.models.golden import build_golden, check_golden, draw_golden_image

SCORES = np.array([4.0, -1.0, 2.0, 0.5], dtype=np.float32)


def test_image_is_the_same_everywhere() -> None:
    """The golden image is drawn from a seed, so packages of one model compare."""
    assert draw_golden_image(64) == draw_golden_image(64)


def test_tolerance_is_relative_and_by_precision() -> None:
    """bf16 may deviate where fp32 may not; nobody may deviate far."""
    golden = build_golden(SCORES, top=2)
    slightly = SCORES + np.float32(0.1)

    assert golden.indices == [0, 2]
    assert not check_golden(golden, SCORES, "fp32")
    assert not check_golden(golden, slightly, "bf16")
    assert "deviate by 0.0250" in check_golden(golden, slightly, "fp32")
    assert check_golden(golden, -SCORES, "int8")


def test_tolerance_that_a_package_does_not_state_is_ours() -> None:
    """A precision that is newer than the package is not judged by the widest of all."""
    golden = build_golden(SCORES).model_copy(update={"tolerance": {"fp32": 0.01}})

    assert "0.02 is allowed in fp16" in check_golden(golden, SCORES + np.float32(0.2), "fp16")


def test_nonsense_fails() -> None:
    """NaN and a wrong number of classes are caught."""
    golden = build_golden(SCORES)

    assert check_golden(golden, SCORES * np.nan, "fp32")
    assert "has 2 classes" in check_golden(golden, SCORES[:2], "fp32")
