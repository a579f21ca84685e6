"""The building blocks of the typed API: the base model, times, durations, quantities, CEL rules.

Used by ``gateway`` and ``runtime``; ``crd`` turns what is written here into the schema of
the CustomResourceDefinitions. Parsing is as strict as the API server's own: an unknown
field is an error, and each error carries the path of its field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import (
    no_info_after_validator_function,
    no_info_plain_validator_function,
)

DURATION_PATTERN: Final = "^([0-9]+([.][0-9]+)?(ms|s|m|h))+$"
QUANTITY_PATTERN: Final = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"  # noqa: E501 - one pattern, as Kubernetes writes it
DNS_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_SECONDS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_SUFFIX: Final = {
    "": Decimal(1),
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{letter}i": Decimal(1024) ** (index + 1) for index, letter in enumerate("KMGTPE")},
}


def render_time(time: datetime) -> str:
    """A time as the API writes it: RFC 3339, in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_duration(text: str) -> Decimal:
    """Seconds in a Kubernetes duration such as ``300ms``, ``1m30s`` or ``0.5s``.

    Raises:
        ValueError: the text is no duration; the message says what one looks like.
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        message = f"{text!r} is no duration: write a number with a unit, such as 300ms, 30s or 5m"
        raise ValueError(message)
    return sum(
        (Decimal(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text)),
        Decimal(0),
    )


def parse_quantity(value: str | float) -> Decimal:
    """The number that a Kubernetes quantity stands for: ``500m`` is 0.5, ``4Gi`` is 4294967296.

    Raises:
        ValueError: the value is no quantity.
    """
    text = str(value)
    if not re.fullmatch(QUANTITY_PATTERN, text):
        message = f"{text!r} is no quantity: write 500m, 2 or 4Gi"
        raise ValueError(message)
    exponent = re.fullmatch(r"(.*?[0-9.])([eE][+-]?[0-9.]+)", text)
    if exponent:
        return Decimal(text)
    number = text.rstrip("numkKMGTPEi")
    return Decimal(number) * _SUFFIX[text[len(number) :]]


def _check_quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        message = "must be a quantity such as 500m, 2 or 4Gi"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError into a field error
    parse_quantity(value)
    return str(value)


@dataclass(frozen=True, slots=True)
class Guard:
    """One check of a field, said once for both judges.

    ``rule`` goes into the CRD as CEL (``self`` is the field), ``check`` runs when the
    operator or the command line parses; both give ``message``.
    """

    rule: str
    message: str
    check: Callable[[Any], bool]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Run ``check`` after the field's own validation."""
        return no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the CEL rule to the field's schema."""
        json_schema = handler(schema)
        json_schema.setdefault("x-kubernetes-validations", []).append(self.as_cel())
        return json_schema

    def as_cel(self) -> dict[str, str]:
        """The entry of ``x-kubernetes-validations``."""
        return {"rule": self.rule, "message": self.message}

    def _validate(self, value: Any) -> Any:
        if not self.check(value):
            raise ValueError(self.message)
        return value


@dataclass(frozen=True, slots=True)
class CountOrWord:
    """A whole number within bounds, both included, or one word; anything else gets one message."""

    low: int
    high: int
    word: str

    @property
    def message(self) -> str:
        """What to write."""
        return f"must be a whole number from {self.low} to {self.high}, or {self.word}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Judge by hand: of a union, pydantic would explain each member by a path of its own."""
        return no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The form that Kubernetes has for it, and the same judgement in CEL."""
        rule = (
            f"type(self) == int ? self >= {self.low} && self <= {self.high} : self == '{self.word}'"
        )
        return {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,  # bounds the cost of the rule
            "x-kubernetes-validations": [{"rule": rule, "message": self.message}],
        }

    def _validate(self, value: Any) -> Any:
        if value == self.word or (type(value) is int and self.low <= value <= self.high):
            return value
        raise ValueError(self.message)


def matches(pattern: str, message: str) -> Guard:
    """A guard that a string matches a pattern (RE2 and Python read it alike)."""
    return Guard(
        rule=f"self.matches('{pattern}')",
        message=message,
        check=lambda text: re.fullmatch(pattern, text) is not None,
    )


def duration_between(shortest: str, longest: str, example: str) -> Guard:
    """A guard that a string is a duration within bounds, both included."""
    low, high = parse_duration(shortest), parse_duration(longest)
    return Guard(
        rule=f"self.matches('{DURATION_PATTERN}') && duration(self) >= duration('{shortest}') "
        f"&& duration(self) <= duration('{longest}')",
        message=f"must be a duration with a unit, from {shortest} to {longest}, such as {example}",
        check=lambda text: (
            re.fullmatch(DURATION_PATTERN, text) is not None and low <= parse_duration(text) <= high
        ),
    )


def zero_or_between(least: str, most: str, example: str) -> Guard:
    """A guard that a quantity is 0 or within bounds, both included."""
    low, high = parse_quantity(least), parse_quantity(most)
    return Guard(
        rule="isQuantity(string(self)) && (quantity(string(self)).compareTo(quantity('0')) == 0 || "
        f"quantity(string(self)).compareTo(quantity('{least}')) >= 0 && "
        f"quantity(string(self)).compareTo(quantity('{most}')) <= 0)",
        message=f"must be 0, or a quantity from {least} to {most}, such as {example}",
        check=lambda text: parse_quantity(text) == 0 or low <= parse_quantity(text) <= high,
    )


# Callers add `duration_between`; sixteen characters hold every duration that makes sense.
DurationText = Annotated[str, Field(max_length=16)]
Quantity = Annotated[
    str,
    BeforeValidator(_check_quantity),
    Field(
        max_length=32,  # bounds the cost of the CEL rules that compare quantities
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN},
    ),
]
AnyObject = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]
SecretName = Annotated[
    str,
    Field(max_length=253),
    matches(
        "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        "must be the name of a Secret: lower-case letters, digits, '-' and '.'",
    ),
]
Labels = Annotated[dict[str, str], Field(max_length=64)]


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire, as strict on types and unknown fields as the API server."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    # Checks of the object as a whole: CEL in the CRD, Python when parsed.
    guards: ClassVar[tuple[Guard, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the guards' CEL rules to the object's schema."""
        reference = handler(schema)
        if cls.guards:
            handler.resolve_ref_schema(reference)["x-kubernetes-validations"] = [
                guard.as_cel() for guard in cls.guards
            ]
        return reference

    @model_validator(mode="after")
    def _run_guards(self) -> Self:
        for guard in self.guards:
            if not guard.check(self):
                raise ValueError(guard.message)
        return self
