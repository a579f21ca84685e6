from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from igw_operator.plan.slo.promql import render_le, render_number, render_selector


@given(st.decimals(min_value=Decimal("0.0001"), max_value=99_999_999, places=4))
def test_names_buckets_as_the_runtime_does(seconds: Decimal) -> None:
    """`le` is text: one digit off, and the objective has no data."""
    assert render_le(seconds) == floatToGoString(float(seconds))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("14.4", "14.4"),
        ("3.00", "3"),
        ("0.00001", "0.00001"),
        ("100", "100"),
        (Decimal(28) / 30, "0.9333333333333333"),
    ],
)
def test_writes_numbers_exactly(value: str | Decimal, text: str) -> None:
    """No exponent, no rounding that a double would not do anyway."""
    assert render_number(Decimal(value)) == text


def test_writes_selectors() -> None:
    """Equal labels first, other matchers as they are."""
    assert render_selector("m", {"a": "1"}, 'b!="2"') == 'm{a="1",b!="2"}'
