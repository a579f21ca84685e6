"""Plays a scenario: the exact log of its events, and what each pod's counters count. Pure.

The log is the truth that everything else is measured against. It holds each request in the second
in which it was answered, whether or not anybody ever scraped the counter that it went into.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.slo.scenario import Pod, Scenario, Seconds, Shape, Span

# Quota, bad pictures and cancelled requests: no objective counts them.
CLIENT_ERRORS: Final = 0.01
RESTART_SECONDS: Final = 8

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Events of one objective in each second, of all pods together."""

    total: Counts
    bad: Counts

    @classmethod
    def empty(cls, seconds: int) -> Log:
        """A log in which nothing has happened yet."""
        return cls(total=np.zeros(seconds, np.int64), bad=np.zeros(seconds, np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What one process has counted up to the begin of each of its seconds, and one more."""

    life: Span
    answered: Counts
    """``2xx``, which is also the count of the latency histogram."""
    refused: Counts
    """``4xx``"""
    failed: Counts
    """``5xx``"""
    fast: Counts
    """Good answers within the threshold: the histogram's bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that happened."""

    logs: dict[str, Log]
    """By objective."""
    processes: dict[str, tuple[Process, ...]]
    """By pod, one after the other."""


def simulate(scenario: Scenario, seed: int) -> History:
    """Play a scenario; the same seed gives the same month."""
    random = np.random.default_rng(seed)
    logs = {name: Log.empty(scenario.length) for name in ("availability", "latency")}
    unserved = _draw_requests(scenario, random)
    others = count_serving(scenario)
    processes: dict[str, tuple[Process, ...]] = {}
    for pod in scenario.pods:
        took = np.zeros(scenario.length, np.int64)
        for span in list_serving(pod):
            where = slice(span.begin, span.end)
            # Each request goes to one of those that serve, all alike.
            took[where] = random.binomial(unserved[where], 1 / others[where])
            unserved[where] -= took[where]
            others[where] -= 1
        processes[pod.name] = tuple(
            _play(scenario, life, took[life.begin : life.end], logs, random)
            for life in list_processes(pod)
        )
    return History(logs=logs, processes=processes)


def list_processes(pod: Pod) -> list[Span]:
    """The lives of a pod's processes: each restart takes some seconds in which there is none."""
    begins = [pod.life.begin, *(at + RESTART_SECONDS for at in pod.restarts)]
    return [
        Span(begin=begin, end=end)
        for begin, end in zip(begins, [*pod.restarts, pod.life.end], strict=True)
    ]


def list_serving(pod: Pod) -> list[Span]:
    """When a pod answers requests: while it is meant to and has a process."""
    return [
        Span(begin=max(life.begin, pod.serves.begin), end=min(life.end, pod.serves.end))
        for life in list_processes(pod)
        if life.begin < pod.serves.end and life.end > pod.serves.begin
    ]


def count_serving(scenario: Scenario) -> Counts:
    """How many pods answer requests, in each second."""
    changes = np.zeros(scenario.length + 1, np.int64)
    for pod in scenario.pods:
        for span in list_serving(pod):
            changes[span.begin] += 1
            changes[span.end] -= 1
    return np.cumsum(changes)[:-1]


def count_up(events: Counts) -> Counts:
    """A counter of events of each second: what it shows at the begin of each, and at the end."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(events)))


def _draw_requests(scenario: Scenario, random: np.random.Generator) -> Counts:
    seconds = np.arange(scenario.length, dtype=np.int64)
    return random.poisson(scenario.rate(seconds)).astype(np.int64)


def _play(
    scenario: Scenario, life: Span, took: Counts, logs: dict[str, Log], random: np.random.Generator
) -> Process:
    seconds = np.arange(life.begin, life.end, dtype=np.int64)
    refused = random.binomial(took, CLIENT_ERRORS)
    asked = took - refused
    failing = _spoil(scenario, scenario.failing, scenario.warmup.failing, seconds)
    failed = random.binomial(asked, failing)
    answered = asked - failed
    slow = random.binomial(answered, _spoil(scenario, scenario.slow, scenario.warmup.slow, seconds))
    where = slice(life.begin, life.end)
    logs["availability"].total[where] += asked
    logs["availability"].bad[where] += failed
    logs["latency"].total[where] += answered
    logs["latency"].bad[where] += slow
    return Process(
        life=life,
        answered=count_up(answered),
        refused=count_up(refused),
        failed=count_up(failed),
        fast=count_up(answered - slow),
    )


def _spoil(scenario: Scenario, share: Shape, fresh: float, seconds: Seconds) -> NDArray[np.float64]:
    """The share of bad events; of a process that has just begun it is another one."""
    shares = share(seconds).copy()
    warm = scenario.warmup.seconds
    shares[:warm] = np.maximum(shares[:warm], fresh)
    return shares
