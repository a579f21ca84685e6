"""One line per step, with the time left."""

import pytest

from localnode.progress import Step, format_duration, format_left, run_steps


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.24, "4.2s"), (59.6, "1m00s"), (250, "4m10s"), (3601, "60m01s")]
)
def test_duration_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    """Seconds with a decimal, minutes with seconds."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "nothing left"), (42, "≈42 s left"), (1080, "≈18 min left")]
)
def test_estimate_is_coarse(seconds: float, text: str) -> None:
    """An estimate does not pretend to be exact."""
    assert format_left(seconds) == text


def test_done_steps_are_not_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what is missing is made, and each step is one line."""
    made: list[str] = []
    done = Step(name="a", label="a 1", seconds=60, is_done=lambda: True, act=lambda: None)
    missing = Step(
        name="b", label="b 2", seconds=60, is_done=lambda: False, act=lambda: made.append("b")
    )

    assert run_steps([done, missing])

    assert made == ["b"]
    assert capsys.readouterr().err.splitlines() == [
        "1 of 2 parts to make (≈1 min left)",
        "[1/2] a 1 … cached",
        "[2/2] b 2 … 0.0s (nothing left)",
    ]


def test_nothing_to_do_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Most commands only make sure."""
    done = Step(name="a", label="a 1", seconds=60, is_done=lambda: True, act=lambda: None)

    assert not run_steps([done])

    assert capsys.readouterr().err == ""
