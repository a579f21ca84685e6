from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bench.slo.scenario import DAY, HOUR, Blindness, Pod, Scenario, Span
from bench.slo.scraping import EPOCH, SCRAPE_SECONDS, Series, render, scrape
from bench.slo.simulation import RESTART_SECONDS, simulate

POD = Pod(name="a", life=Span(begin=0, end=DAY), serves=Span(begin=0, end=DAY))
QUIET = Scenario(
    name="a",
    title="",
    days=1,
    pods=(POD,),
    rate=lambda at: np.full(at.shape, 1.0),
    failing=lambda at: np.full(at.shape, 0.5),
    slow=lambda at: np.full(at.shape, 0.5),
)


def scraped(scenario: Scenario, status: str = "2xx") -> list[tuple[int, float]]:
    """What was scraped of the requests of a status, of the first pod that has any."""
    series = scrape(scenario, simulate(scenario, seed=1))
    return list(next(it for it in series if f'status="{status}"' in it.name).samples)


def markers(samples: list[tuple[int, float]]) -> list[int]:
    """When a series was marked stale."""
    return [at for at, value in samples if math.isnan(value)]


def test_scrapes_at_the_interval() -> None:
    """Each pod at its own place within it, always the same."""
    times = [at for at, _ in scraped(QUIET)]

    assert set(np.diff(times)) == {SCRAPE_SECONDS}
    assert len(times) > DAY // SCRAPE_SECONDS - 2


def test_shows_what_had_happened_by_then() -> None:
    """Good and failed requests before the scrape, none of later ones."""
    log = simulate(QUIET, seed=1).logs["availability"]
    good, failed = scraped(QUIET), scraped(QUIET, "5xx")

    for (at, one), (_, other) in zip(good, failed, strict=True):
        assert one + other == log.total[:at].sum()


def test_counts_from_zero_after_a_restart() -> None:
    """The same series goes on, from 0."""
    samples = scraped(replace(QUIET, pods=(replace(POD, restarts=(HOUR,)),)))

    before = [value for at, value in samples if at < HOUR]
    after = [value for at, value in samples if at >= HOUR + RESTART_SECONDS]
    assert max(before) == before[-1] > 1000
    assert after[0] < 2 * SCRAPE_SECONDS
    assert sorted(after) == after


def test_marks_a_failed_scrape_once() -> None:
    """Ten minutes without a scrape are one marker at their begin, and then nothing."""
    blind = Span(begin=HOUR, end=HOUR + 600)
    samples = scraped(replace(QUIET, blind=(Blindness(span=blind),)))

    (marked,) = markers(samples)
    assert HOUR <= marked < HOUR + SCRAPE_SECONDS
    assert not [at for at, _ in samples if marked < at < blind.end]


def test_cuts_off_one_pod_alone() -> None:
    """The others are scraped as before."""
    other = Pod(name="b", life=POD.life, serves=POD.serves)
    blind = (Blindness(span=Span(begin=HOUR, end=HOUR + 600), pod="b"),)

    assert not markers(scraped(replace(QUIET, pods=(POD, other), blind=blind)))


def test_marks_a_pod_that_is_gone() -> None:
    """At the first scrape after its end."""
    ending = replace(POD, life=Span(begin=0, end=HOUR), serves=Span(begin=0, end=HOUR))
    samples = scraped(replace(QUIET, pods=(ending,)))

    assert markers(samples) == [samples[-1][0]]
    assert HOUR <= samples[-1][0] < HOUR + SCRAPE_SECONDS


def test_has_nothing_of_the_time_in_which_prometheus_is_down() -> None:
    """Not even a marker: nobody is there to set it."""
    down = Span(begin=HOUR, end=HOUR + 600)
    samples = scraped(replace(QUIET, down=(down,)))

    assert not markers(samples)
    assert not [at for at, _ in samples if down.holds(at)]


def test_writes_openmetrics() -> None:
    """Series, value, seconds since 1970."""
    text = render(Series('requests{pod="a"}', [(0, 5.0), (30, math.nan)]))

    assert text == f'requests{{pod="a"}} 5 {EPOCH}\nrequests{{pod="a"}} NaN {EPOCH + 30}\n'


def test_tells_when_each_process_began() -> None:
    """Seconds since 1970, of the process that is scraped."""
    scenario = replace(QUIET, pods=(replace(POD, restarts=(HOUR,)),))
    (began,) = (
        it
        for it in scrape(scenario, simulate(scenario, seed=1))
        if it.name.startswith("process_start_time_seconds")
    )

    assert {value - EPOCH for _, value in began.samples} == {0, HOUR + RESTART_SECONDS}
