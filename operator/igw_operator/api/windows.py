"""SLO windows and the multi-window, multi-burn-rate tiers that alert on them, as data.

Admission needs them (an objective whose alert cannot fire is refused) and so do the rules
in ``plan.slo``. Source: the SRE Workbook's table "Recommended parameters for an SLO-based
alerting configuration" (sre.google/workbook/alerting-on-slos), as Sloth's
``google-30d.yaml`` states it; the 7d row follows Sloth's 7d example.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

from igw_operator.api.fields import parse_duration

_HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnTier:
    """One alert condition: spend ``budget_percent`` of the budget within ``long_hours``."""

    speed: Literal["fast", "slow"]
    long_window: str
    short_window: str
    long_hours: int
    budget_percent: Decimal

    @property
    def short_seconds(self) -> int:
        """Length of the short window."""
        return int(parse_duration(self.short_window))

    def factor(self, window_days: int) -> Decimal:
        """Burn rate at which the tier fires: 1 spends exactly the budget in the window."""
        return self.budget_percent / 100 * window_days * _HOURS_A_DAY / self.long_hours


def _tiers(percents: tuple[str, str, str, str]) -> tuple[BurnTier, ...]:
    shapes: tuple[tuple[Literal["fast", "slow"], str, str, int], ...] = (
        ("fast", "1h", "5m", 1),
        ("fast", "6h", "30m", 6),
        ("slow", "1d", "2h", 24),
        ("slow", "3d", "6h", 72),
    )
    return tuple(
        BurnTier(
            speed=speed,
            long_window=long,
            short_window=short,
            long_hours=hours,
            budget_percent=Decimal(percent),
        )
        for (speed, long, short, hours), percent in zip(shapes, percents, strict=True)
    )


_PERCENTS: Final = {
    "7d": ("8", "12.5", "20", "42"),
    "28d": ("2", "5", "10", "10"),
    "30d": ("2", "5", "10", "10"),
    "month": ("2", "5", "10", "10"),
}


class Window(StrEnum):
    """The period over which an error budget is counted."""

    WEEK = "7d"
    FOUR_WEEKS = "28d"
    MONTH = "30d"
    CALENDAR_MONTH = "month"
    """From midnight (UTC) of the first on; all others roll."""

    @property
    def is_calendar(self) -> bool:
        """Whether the budget starts anew at a date."""
        return self is Window.CALENDAR_MONTH

    @property
    def days(self) -> int:
        """Length of the window in days; a calendar month counts as 30."""
        return 30 if self.is_calendar else int(self.value.removesuffix("d"))

    @property
    def text(self) -> str:
        """The window in a sentence."""
        return "the calendar month" if self.is_calendar else self.value

    @property
    def tiers(self) -> tuple[BurnTier, ...]:
        """The alert conditions of the window, fastest first."""
        return _tiers(_PERCENTS[self.value])

    @property
    def highest_factor(self) -> Decimal:
        """The greatest burn rate that any tier waits for."""
        return max(tier.factor(self.days) for tier in self.tiers)
