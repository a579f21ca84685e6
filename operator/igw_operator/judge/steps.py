"""Measured numbers as the words of a status, which change in steps and not with every reading.

A status that followed each sample would be written twice a minute for each of thousands of
gateways. So a number replaces the one that stands there only where it is a step away from it;
by how much the two may differ is part of each function's contract. Pure: what stands there is
all the memory that there is, so a restart changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from igw_operator.judge.snapshot import SpanLoss

_PERCENT: Final = "%"
_BUDGET_STEP: Final = Decimal("0.1")
_COVERAGE_STEP: Final = Decimal(1)
_FULL: Final = Decimal(100)
# A burn rate below this says that all is well; a tenth of the budget's speed is nobody's concern.
_LEAST_BURN: Final = 0.1
_BURN_SHARE: Final = 0.2
_BURN_DIGITS: Final = 2
_LOSS_FACTOR: Final = 2


def step_budget(before: str | None, ratio: float | None) -> str | None:
    """What is left of a budget, such as ``98.3%``; within 0.1 points of the reading.

    Beyond -100 % three digits are kept: how deep the hole is matters less by then.
    """
    if ratio is None or not math.isfinite(ratio):
        return None
    percent = Decimal(repr(ratio)) * 100
    step = _BUDGET_STEP
    while abs(percent) >= step * 1000 + step:
        step *= 10
    return _step(before, percent, step)


def step_coverage(before: str | None, ratio: float | None) -> str | None:
    """How much of the window is known, such as ``12%``; within a point of the reading."""
    if ratio is None or not math.isfinite(ratio):
        return None
    return _step(before, Decimal(repr(ratio)) * 100, _COVERAGE_STEP)


def step_losses(
    before: Sequence[tuple[SpanLoss, int]], losses: Mapping[SpanLoss, float]
) -> tuple[tuple[SpanLoss, int], ...]:
    """Lost spans with one digit, such as 300, within a half and the double of the reading.

    In the order of `SpanLoss`; it is an order of magnitude that is wanted. Places where less than
    one was lost are left out.
    """
    known = dict(before)
    lost = ((where, losses.get(where, 0.0)) for where in SpanLoss)
    return tuple(
        (where, _step_count(known.get(where), count))
        for where, count in lost
        if math.isfinite(count) and round(count) > 0
    )


def _step_count(before: int | None, count: float) -> int:
    if before is not None and before / _LOSS_FACTOR <= count <= before * _LOSS_FACTOR:
        return before
    return int(_round(Decimal(round(count)), 1))


def step_burn(before: str | None, rate: float | None) -> str | None:
    """A burn rate with two digits, such as ``14`` or ``0.35``; within a fifth of the reading.

    Below 0.1 it is ``0``: of a healthy gateway the number would else never rest.
    """
    if rate is None or not math.isfinite(rate):
        return None
    rate = max(rate, 0.0)
    known = _parse(before)
    if known is not None and abs(rate - float(known)) < max(_LEAST_BURN, _BURN_SHARE * rate):
        return before
    if rate < _LEAST_BURN:
        return "0"
    return f"{_round(Decimal(repr(rate)), _BURN_DIGITS):f}"


def derive_sli(objective: Decimal, budget: str) -> str:
    """The share of good events in percent that leaves so much of the budget: exact, no rounding."""
    left = read_percent(budget) / 100
    sli = _FULL - (_FULL - objective) * (1 - left)
    return f"{sli.normalize():f}{_PERCENT}"


def read_percent(text: str) -> Decimal:
    """The number in a status' percentage."""
    return Decimal(text.removesuffix(_PERCENT))


def _step(before: str | None, percent: Decimal, step: Decimal) -> str:
    known = _parse(before)
    if known is not None and abs(percent - known) < step:
        return str(before)
    rounded = (percent / step).quantize(Decimal(1), ROUND_HALF_EVEN) * step
    digits = rounded if step < 1 else rounded.quantize(Decimal(1))
    return f"{digits + 0:f}{_PERCENT}"  # + 0: no -0.0


def _parse(text: str | None) -> Decimal | None:
    """The number that stands there; None where there is none, or somebody wrote a word."""
    try:
        number = None if text is None else read_percent(text)
    except ArithmeticError:
        return None
    return number if number is not None and number.is_finite() else None


def _round(number: Decimal, digits: int) -> Decimal:
    exponent = number.adjusted() - digits + 1
    rounded = number.quantize(Decimal(1).scaleb(exponent), ROUND_HALF_EVEN)
    return rounded.quantize(Decimal(1)) if exponent >= 0 else rounded.normalize() + 0
