"""Durations and quantities."""

from __future__ import annotations

from decimal import Decimal

import pytest

from igw_operator.api.fields import parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", "0.3"), ("0.5s", "0.5"), ("1m30s", "90"), ("2h", "7200"), ("1.5h", "5400")],
)
def test_a_duration_is_its_seconds(text: str, seconds: str) -> None:
    """Units may be joined and fractions used, as in Go."""
    assert parse_duration(text) == Decimal(seconds)


@pytest.mark.parametrize("text", ["", "300", "ms", "1d", "-1s", "1 s", "1s "])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The message shows what a duration looks like."""
    with pytest.raises(ValueError, match="such as 300ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        (4, "4"),
        ("4Gi", "4294967296"),
        ("1k", "1000"),
        ("1.5M", "1500000"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        ("100n", "0.0000001"),
    ],
)
def test_a_quantity_is_its_number(text: str | int, number: str) -> None:
    """Decimal, binary and exponent forms, as in Kubernetes."""
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "2x", "1 Gi", "Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """The message shows what a quantity looks like."""
    with pytest.raises(ValueError, match="write 500m"):
        parse_quantity(text)
