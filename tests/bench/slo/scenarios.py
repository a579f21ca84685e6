"""The months that are simulated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.slo.scenario import (
    DAY,
    HOUR,
    MINUTE,
    Blindness,
    Incident,
    Pod,
    Scenario,
    Seconds,
    Shape,
    Span,
    Warmup,
)

_LOAD_SECONDS: Final = 20  # until a new process has its model
_DRAIN_SECONDS: Final = 10
_WARMUP: Final = Warmup(seconds=30, slow=0.5, failing=0.02)


def build_scenarios(days: int) -> dict[str, Scenario]:
    """All of them, by name; what happens in them keeps its place in shorter ones."""
    found = (each(days) for each in _SCENARIOS)
    return {each.name: each for each in found}


def _diurnal(days: int) -> Scenario:
    return Scenario(
        name="diurnal",
        title="day and night; overloaded a little at noon",
        days=days,
        pods=_steady_pods(days),
        rate=_day_and_night,
        failing=lambda at: 0.0003 + 0.004 * _load(at) ** 2,
        slow=lambda at: 0.001 + 0.008 * _load(at) ** 2,
    )


def _bursty(days: int) -> Scenario:
    bursts = [
        Span(begin=at, end=at + 10 * MINUTE)
        for day in range(days)
        for at in (day * DAY + hour * HOUR + 7 * MINUTE for hour in (3, 9, 15, 21))
    ]
    return Scenario(
        name="bursty",
        title="four bursts of ten minutes a day, in which requests fail; hardly any in between",
        days=days,
        pods=_steady_pods(days),
        rate=_within(bursts, 40.0, otherwise=0.05),
        failing=_within(bursts, 0.004, otherwise=0.0002),
        slow=_within(bursts, 0.008, otherwise=0.0005),
    )


def _quiet(days: int) -> Scenario:
    a_second = 6 / HOUR
    outage = _at(days, 0.62, 6 * HOUR)
    # Of one request each, more or less.
    failures = [_at(days, share / 100, 10 * MINUTE) for share in range(5, 100, 9)]
    return Scenario(
        name="quiet",
        title="6 requests an hour; single failures, and an outage of six hours",
        days=days,
        pods=_steady_pods(days, count=2),
        rate=lambda at: np.full(at.shape, a_second),
        failing=_within([*failures[::2], outage], 1.0),
        slow=_within(failures[1::2], 1.0),
        incidents=(_calls("full outage", outage, "availability"),),
    )


def _outage(days: int) -> Scenario:
    full = _at(days, 0.62, 40 * MINUTE)
    partial = _at(days, 0.81, 90 * MINUTE)
    slow = _at(days, 0.4, 45 * MINUTE)
    gone = _at(days, 0.9, 20 * MINUTE)
    pods = [_pod(f"a{n}", 0, gone.begin) for n in range(3)]
    pods += [_pod(f"b{n}", gone.end - _LOAD_SECONDS, days * DAY, drain=0) for n in range(3)]
    return Scenario(
        name="outage",
        title="all fails for 40 minutes, a fifth for 90; all is slow for 45; no pod for 20",
        days=days,
        pods=tuple(pods),
        rate=_day_and_night,
        failing=_worst(_flat(0.0005), _within([full], 1.0), _within([partial], 0.2)),
        slow=_worst(_flat(0.002), _within([slow], 1.0)),
        incidents=(
            _calls("full outage", full, "availability"),
            _calls("a fifth fails", partial, "availability"),
            _calls("all slow", slow, "latency"),
            _calls("no pod runs", gone, "none"),
        ),
    )


def _leak(days: int) -> Scenario:
    leak = Span(begin=int(0.4 * days * DAY), end=int(0.75 * days * DAY))

    def ramp(worst: float) -> Shape:
        def share(at: Seconds) -> NDArray[np.float64]:
            part = (at - leak.begin) / (leak.end - leak.begin)
            return np.where((part >= 0) & (part < 1), part * worst, 0.0)

        return share

    # The ticket is due once the burn rate is above 1: a third of the way.
    due = Span(begin=leak.begin + (leak.end - leak.begin) // 5, end=leak.end)
    return Scenario(
        name="leak",
        title="errors and slow answers grow for a third of the time, to thrice what is allowed",
        days=days,
        pods=_steady_pods(days),
        rate=_day_and_night,
        failing=_worst(_flat(0.0005), ramp(0.015)),
        slow=_worst(_flat(0.001), ramp(0.03)),
        incidents=(
            _calls("slow leak", due, "availability", "ticket"),
            _calls("slow leak", due, "latency", "ticket"),
        ),
    )


def _churn(days: int) -> Scenario:
    pods = []
    for number in range(3):
        every = (37 + 10 * number) * MINUTE
        restarts = tuple(range(every, days * DAY - HOUR, every))
        pods.append(_pod(f"a{number}", 0, days * DAY, restarts, drain=0))
    return Scenario(
        name="churn",
        title="each process ends after 37 to 57 minutes; a new one is slow at first",
        days=days,
        pods=tuple(pods),
        rate=_day_and_night,
        failing=_flat(0.0005),
        slow=_flat(0.001),
        warmup=_WARMUP,
    )


def _gaps(days: int) -> Scenario:
    blind = []
    bad = []
    for number in range(2 * days):
        begin = number * DAY // 2 + (number * 7919) % (9 * HOUR) + HOUR
        length = (1 + number * 5 % 9) * MINUTE
        span = Span(begin=begin, end=begin + length)
        # What cuts off a scrape often enough cuts off requests as well.
        bad.append(span)
        blind.append(Blindness(span=span, pod="" if length <= 4 * MINUTE else f"a{number % 3}"))
    unseen = _at(days, 0.7, 20 * MINUTE)
    down = tuple(
        _at(days, share, minutes * MINUTE)
        for share, minutes in ((0.22, 2), (0.35, 3), (0.52, 15), (0.86, 3))
    )
    return Scenario(
        name="gaps",
        title="two gaps of 1 to 9 minutes a day, in which a tenth fails; Prometheus down 4 times",
        days=days,
        pods=_steady_pods(days),
        rate=_day_and_night,
        failing=_worst(_flat(0.0003), _within([*bad, *down], 0.1)),
        slow=_worst(_flat(0.001), _within([*bad, *down], 0.2)),
        incidents=(_calls("nothing is scraped", unseen, "none"),),
        blind=(*blind, Blindness(span=unseen)),
        down=down,
    )


def _deploys(days: int) -> Scenario:
    bad = _at(days, 0.6, 20 * MINUTE)
    times = sorted(
        [*(day * DAY + hour * HOUR for day in range(days) for hour in (9, 16)), bad.begin, bad.end]
    )
    pods = []
    for version, (begin, end) in enumerate(zip([0, *times], [*times, days * DAY], strict=True)):
        # One pod after the other, each before the one that it replaces goes.
        for number in range(3):
            late = number * MINUTE
            first = begin + late - _LOAD_SECONDS if begin else 0
            name = f"v{version}-{number}"
            if end < days * DAY:
                pods.append(_pod(name, first, end + late))
            else:
                pods.append(_pod(name, first, end, drain=0))
    return Scenario(
        name="deploys",
        title="two deploys a day, new pods are slow at first; a bad one for 20 minutes",
        days=days,
        pods=tuple(pods),
        rate=_day_and_night,
        failing=_worst(_flat(0.0005), _within([bad], 0.6)),
        slow=_flat(0.001),
        incidents=(_calls("bad deploy", bad, "availability"),),
        warmup=_WARMUP,
    )


_SCENARIOS: Final[Sequence[Callable[[int], Scenario]]] = (
    _diurnal,
    _bursty,
    _quiet,
    _outage,
    _leak,
    _churn,
    _gaps,
    _deploys,
)


def _pod(
    name: str,
    begin: int,
    end: int,
    restarts: tuple[int, ...] = (),
    drain: int = _DRAIN_SECONDS,
) -> Pod:
    """A replica that serves once it has its model, and drains before it goes."""
    return Pod(
        name=name,
        life=Span(begin=begin, end=end + drain),
        serves=Span(begin=begin + _LOAD_SECONDS if begin else 0, end=end),
        restarts=restarts,
    )


def _steady_pods(days: int, count: int = 3) -> tuple[Pod, ...]:
    return tuple(_pod(f"a{number}", 0, days * DAY, drain=0) for number in range(count))


def _at(days: int, share: float, seconds: int) -> Span:
    """A time at a share of the month; not on the hour, nor on any other mark."""
    begin = int(share * days * DAY) // HOUR * HOUR + 13 * MINUTE + 17
    return Span(begin=begin, end=begin + seconds)


def _calls(what: str, span: Span, slo: str, call: str = "page") -> Incident:
    return Incident(what=what, span=span, slo=slo, call="page" if call == "page" else "ticket")


def _load(at: Seconds) -> NDArray[np.float64]:
    """0 in the dead of the night, 1 at noon; less on two days of seven."""
    day = 0.5 - 0.5 * np.cos(2 * math.pi * (at % DAY) / DAY)
    return np.where(at // DAY % 7 >= 5, 0.4 * day, day)


def _day_and_night(at: Seconds) -> NDArray[np.float64]:
    return 1.5 + 12.0 * _load(at)


def _flat(value: float) -> Shape:
    return lambda at: np.full(at.shape, value)


def _within(spans: Sequence[Span], value: float, otherwise: float = 0.0) -> Shape:
    def shape(at: Seconds) -> NDArray[np.float64]:
        found = np.full(at.shape, otherwise)
        for span in spans:
            found[(at >= span.begin) & (at < span.end)] = value
        return found

    return shape


def _worst(*shapes: Shape) -> Shape:
    return lambda at: np.maximum.reduce([shape(at) for shape in shapes])
