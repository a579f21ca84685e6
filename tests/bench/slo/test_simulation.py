from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.slo.scenario import DAY, HOUR, Pod, Scenario, Span, Warmup
from bench.slo.scenarios import build_scenarios
from bench.slo.simulation import (
    RESTART_SECONDS,
    count_serving,
    count_up,
    list_processes,
    list_serving,
    simulate,
)

SCENARIOS = build_scenarios(2)


def a_scenario(*pods: Pod, failing: float = 0.1, slow: float = 0.2) -> Scenario:
    """A day of ten requests a second."""
    return Scenario(
        name="a",
        title="",
        days=1,
        pods=pods,
        rate=lambda at: np.full(at.shape, 10.0),
        failing=lambda at: np.full(at.shape, failing),
        slow=lambda at: np.full(at.shape, slow),
    )


def a_pod(begin: int = 0, end: int = DAY, *restarts: int, name: str = "a") -> Pod:
    """A pod that serves as long as it lives."""
    life = Span(begin=begin, end=end)
    return Pod(name=name, life=life, serves=life, restarts=restarts)


def test_a_restart_ends_one_process_and_begins_another() -> None:
    """Between the two there are some seconds without any."""
    lives = list_processes(a_pod(0, DAY, HOUR))

    assert lives == [Span(begin=0, end=HOUR), Span(begin=HOUR + RESTART_SECONDS, end=DAY)]


def test_a_pod_serves_only_while_it_has_a_process() -> None:
    """Being meant to serve is not enough."""
    pod = replace(a_pod(0, DAY, HOUR), serves=Span(begin=100, end=HOUR + 60))

    assert list_serving(pod) == [
        Span(begin=100, end=HOUR),
        Span(begin=HOUR + RESTART_SECONDS, end=HOUR + 60),
    ]


def test_counts_who_serves() -> None:
    """Second by second."""
    serving = count_serving(a_scenario(a_pod(0, 100), a_pod(50, DAY, name="b")))

    assert [serving[at] for at in (0, 49, 50, 99, 100)] == [1, 1, 2, 2, 1]


def test_a_counter_shows_what_was_before() -> None:
    """At the begin of a second, nothing of that second is in it."""
    assert list(count_up(np.array([3, 0, 4]))) == [0, 3, 3, 7]


def test_a_new_process_counts_from_zero() -> None:
    """What the one before it counted is gone from the counters, and stays in the log."""
    history = simulate(a_scenario(a_pod(0, DAY, HOUR)), seed=1)

    before, after = history.processes["a"]
    assert before.answered[0] == after.answered[0] == 0
    assert 0 < after.answered[60] < before.answered[-1]
    assert before.answered[-1] + after.answered[-1] == history.logs["latency"].total.sum()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_event_is_in_the_log_and_in_one_counter(name: str) -> None:
    """The truth and what may be scraped are two views of the same requests."""
    history = simulate(SCENARIOS[name], seed=1)

    processes = [each for its in history.processes.values() for each in its]
    answered = sum(int(each.answered[-1]) for each in processes)
    failed = sum(int(each.failed[-1]) for each in processes)
    fast = sum(int(each.fast[-1]) for each in processes)
    availability, latency = history.logs["availability"], history.logs["latency"]
    assert int(availability.total.sum()) == answered + failed
    assert int(availability.bad.sum()) == failed > 0
    assert int(latency.total.sum()) == answered
    assert int(latency.bad.sum()) == answered - fast > 0


def test_requests_that_nobody_serves_are_no_events() -> None:
    """What answers nothing counts nothing either."""
    history = simulate(a_scenario(a_pod(0, HOUR), a_pod(2 * HOUR, DAY, name="b")), seed=1)

    assert history.logs["availability"].total[HOUR : 2 * HOUR].sum() == 0


def test_pods_share_the_requests() -> None:
    """All that serve are asked alike."""
    history = simulate(a_scenario(a_pod(), a_pod(name="b"), a_pod(name="c")), seed=1)

    counts = [int(its[0].answered[-1]) for its in history.processes.values()]
    assert max(counts) - min(counts) < 0.02 * sum(counts)


def test_shares_are_as_they_were_asked_for() -> None:
    """A tenth fails, and a fifth of the rest is slow."""
    logs = simulate(a_scenario(a_pod()), seed=1).logs

    for name, share in (("availability", 0.1), ("latency", 0.2)):
        assert logs[name].bad.sum() / logs[name].total.sum() == pytest.approx(share, abs=0.005)


def test_a_new_process_is_slow_at_first() -> None:
    """In its first seconds another share of its answers is slow."""
    scenario = replace(a_scenario(a_pod(HOUR), slow=0.0), warmup=Warmup(seconds=30, slow=1.0))

    log = simulate(scenario, seed=1).logs["latency"]

    assert log.bad.sum() == log.bad[HOUR : HOUR + 30].sum() == log.total[HOUR : HOUR + 30].sum() > 0


def test_a_seed_makes_a_month() -> None:
    """The same one twice, another one by another seed."""
    one, same, other = (simulate(a_scenario(a_pod()), seed) for seed in (1, 1, 2))

    assert (one.logs["latency"].bad == same.logs["latency"].bad).all()
    assert (one.logs["latency"].bad != other.logs["latency"].bad).any()
