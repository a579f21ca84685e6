import pytest

from igw_runtime.models.gate import GateLimits, check_gate, find_weakness, measure

LIMITS = GateLimits(min_agreement=0.9, max_accuracy_drop=0.05, min_pictures=4)
FP32 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
UNKNOWN: list[int | None] = [None] * 10


def changed(*places: int) -> list[int]:
    """Return fp32's answers, other ones in these places."""
    return [99 if index in places else answer for index, answer in enumerate(FP32)]


def test_agreement_alone_where_nothing_is_labelled() -> None:
    """Nine of ten are as many as are asked for; eight are not."""
    gate = measure(FP32, changed(3), UNKNOWN, LIMITS)

    assert (gate.agreement, gate.labelled, gate.accuracy_fp32) == (0.9, 0, None)
    assert not check_gate(gate)
    assert check_gate(measure(FP32, changed(3, 4), UNKNOWN, LIMITS)) == (
        "int8 agrees with fp32 on 80.00% of the pictures, at least 90.00% is asked for"
    )


def test_accuracy_is_of_the_labelled_pictures() -> None:
    """An answer that turns right makes up for one that turns wrong."""
    truths = [0, 1, 2, 99, None, None, None, None, None, None]
    right_for_wrong = measure(FP32, changed(3), truths, LIMITS)
    wrong = measure(FP32, changed(0), truths, LIMITS)

    assert (right_for_wrong.accuracy_fp32, right_for_wrong.accuracy_int8) == (0.75, 1.0)
    assert not check_gate(right_for_wrong)
    assert check_gate(wrong) == (
        "int8 is right on 50.00% of the 4 labelled pictures, fp32 on 75.00%: "
        "25.00 points less, 5.00 are allowed"
    )


def test_both_faults_are_told() -> None:
    """Who loosens one limit is not surprised by the other."""
    gate = measure(FP32, changed(0, 1), list(FP32), LIMITS)

    assert check_gate(gate).count("; ") == 1


@pytest.mark.parametrize(
    ("fp32", "pictures", "expected"),
    [
        pytest.param(FP32, 10, "", id="enough, of several classes"),
        pytest.param(FP32, 3, "at least 4 are asked for", id="too few pictures"),
        pytest.param([7] * 10, 10, "so would a broken network", id="all of one class"),
    ],
)
def test_an_evaluation_has_to_be_able_to_fail(
    fp32: list[int], pictures: int, expected: str
) -> None:
    """A network that gives one class to everything agrees with whatever is stuck on that class."""
    weakness = find_weakness(fp32, pictures, LIMITS)

    assert expected in weakness if expected else not weakness
