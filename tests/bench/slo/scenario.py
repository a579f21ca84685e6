"""What a simulated month is made of; pure data. Times are whole seconds since its begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

DAY: Final = 86_400
HOUR: Final = 3600
MINUTE: Final = 60

Seconds = NDArray[np.int64]
Shape = Callable[[Seconds], NDArray[np.float64]]
"""A number for each of some seconds."""
Call = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From a second to before another."""

    begin: int
    end: int

    def holds(self, at: float) -> bool:
        """Whether a time is within."""
        return self.begin <= at < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One replica, from its process' first second to its last."""

    name: str
    life: Span
    serves: Span
    """When it is sent requests."""
    restarts: tuple[int, ...] = ()
    """When its process ends and another one begins in the same pod, with counters of 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something of which people want to hear; nothing else is worth a call."""

    what: str
    span: Span
    slo: str
    """``availability``, ``latency``, or ``none`` where nothing can be measured."""
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """Scrapes that fail, of one pod or of all."""

    span: Span
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """The first seconds of a new process, and what is bad in them."""

    seconds: int = 0
    slow: float = 0.0
    failing: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A month of one service: who serves, how much is asked, what goes wrong, what is not seen."""

    name: str
    title: str
    days: int
    pods: tuple[Pod, ...]
    rate: Shape
    """Requests a second, of the whole service."""
    failing: Shape
    """Share of requests that fail with a server error."""
    slow: Shape
    """Share of good answers that take longer than the objective allows."""
    incidents: tuple[Incident, ...] = ()
    blind: tuple[Blindness, ...] = ()
    down: tuple[Span, ...] = ()
    """When Prometheus itself does not run."""
    warmup: Warmup = Warmup()

    @property
    def length(self) -> int:
        """Its seconds."""
        return self.days * DAY
