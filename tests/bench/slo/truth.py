"""What was true, from the exact log of events. Pure.

Of a budget: good and bad events of its window, to the second. Of a call: the first second in
which the conditions of the SRE Workbook's table hold in the log itself, without any scrape or
rule in between. Nobody can know earlier; how much later people are called is what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.slo.scenario import Call, Span
from bench.slo.simulation import Counts, Log, count_up
from igw_operator.api.fields import parse_duration
from igw_operator.api.windows import BurnTier, Window

WINDOW: Final = Window.MONTH
_SPEEDS: Final[dict[Call, str]] = {"page": "fast", "ticket": "slow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A log as running totals; the shape in which any span of it is two look-ups."""

    total: Counts
    bad: Counts
    target: float
    """Share of events that has to be good."""

    @classmethod
    def of(cls, log: Log, target: float) -> Totals:
        """The totals of a log."""
        return cls(total=count_up(log.total), bad=count_up(log.bad), target=target)

    @property
    def budget(self) -> float:
        """Share of events that may be bad."""
        return 1 - self.target

    def share(self, at: Counts, seconds: int) -> NDArray[np.float64]:
        """Share of bad events in so many seconds before each time; NaN where there were none."""
        total, bad = self.count(self.total, at, seconds), self.count(self.bad, at, seconds)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, bad / np.maximum(total, 1), np.nan)

    def remaining(self, at: Counts) -> NDArray[np.float64]:
        """Share of the window's budget that is left at each time."""
        return 1 - self.share(at, WINDOW.days * 86_400) / self.budget

    @staticmethod
    def count(running: Counts, at: Counts, seconds: int) -> Counts:
        """Events in so many seconds before each time, as far back as there are any."""
        end = np.clip(at, 0, len(running) - 1)
        return np.asarray(running[end] - running[np.maximum(end - seconds, 0)])


def find_due(totals: Totals, span: Span, call: Call, evidence: int = 0) -> int | None:
    """The first second of a span in which a call is due; None where it never is.

    With ``evidence``, so many bad events have to be in the long window as well.
    """
    at = np.arange(span.begin, span.end + 1, dtype=np.int64)
    due = np.zeros(at.shape, bool)
    for tier in _pick(call):
        due |= _burns(totals, at, tier) & (
            totals.count(totals.bad, at, tier.long_hours * 3600) >= evidence
        )
    found = np.flatnonzero(due)
    return int(at[found[0]]) if found.size else None


def _pick(call: Call) -> Sequence[BurnTier]:
    return [tier for tier in WINDOW.tiers if tier.speed == _SPEEDS[call]]


def _burns(totals: Totals, at: Counts, tier: BurnTier) -> NDArray[np.bool_]:
    limit = float(tier.factor(WINDOW.days)) * totals.budget
    long = totals.share(at, tier.long_hours * 3600)
    short = totals.share(at, int(parse_duration(tier.short_window)))
    return (long > limit) & (short > limit)
