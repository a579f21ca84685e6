"""Text of PromQL: selectors and numbers, exact and as Prometheus itself writes them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

# From here on Go writes exponents where Python does not (client_python's floatToGoString).
_GO_EXPONENT_DIGITS: Final = 6


def render_selector(metric: str, equal: Mapping[str, str], *matchers: str) -> str:
    """``metric{label="value",…}``; further matchers are text such as ``status="5xx"``."""
    parts = [f'{label}="{value}"' for label, value in equal.items()]
    return f"{metric}{{{','.join([*parts, *matchers])}}}"


def render_number(value: Decimal) -> str:
    """A number without exponent, as exact as Prometheus keeps it (a double), never rounded."""
    exact = Decimal(repr(float(value)))
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def render_le(seconds: Decimal) -> str:
    """The ``le`` label that client_python gives a bucket: ``0.3``, ``1.0``, ``2.5``.

    Prometheus 3 normalises the label to the same text when it scrapes.
    """
    text = repr(float(seconds))
    dot = text.find(".")
    if dot > _GO_EXPONENT_DIGITS:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+0{dot - 1}"
    return text
