"""What Prometheus has of a month: each pod's counters every 30 s, as OpenMetrics. Pure.

A scrape that fails, and the first one after a pod is gone, leave a staleness marker on each of
its series, as Prometheus' scraping does: written as NaN, which ``rule-replay`` takes for that.
While Prometheus is down there is nothing at all.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.slo.scenario import Pod, Scenario
from bench.slo.simulation import History, Process

EPOCH: Final = 1_780_272_000
"""Begin of the month: the first of June 2026, midnight UTC."""
SCRAPE_SECONDS: Final = 30
_DISCOVERY_SECONDS: Final = 5
_IDENTITY: Final = 'namespace="demo",gateway="photos"'
_REPLICAS: Final = 3

Sample = tuple[int, float]
NOTHING: Final = float("nan")
"""A staleness marker."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series and what was scraped of it, by seconds since the month's begin."""

    name: str
    samples: Sequence[Sample]


def scrape(scenario: Scenario, history: History) -> Iterator[Series]:
    """All series of a month."""
    for pod in scenario.pods:
        yield from _scrape_pod(scenario, pod, history.processes[pod.name])
    times = range(0, scenario.length, SCRAPE_SECONDS)
    seen = [at for at in times if not any(span.holds(at) for span in scenario.down)]
    name = f"igw_operator_gateway_desired_replicas{{{_IDENTITY}}}"
    yield Series(name, [(at, _REPLICAS) for at in seen])


def render(series: Series) -> str:
    """A series in OpenMetrics, times as seconds since 1970."""
    return "".join(
        f"{series.name} {'NaN' if math.isnan(value) else int(value)} {EPOCH + at}\n"
        for at, value in series.samples
    )


def list_scrapes(scenario: Scenario, pod: Pod) -> Iterator[tuple[int, bool]]:
    """When a pod is scraped, and whether that succeeds; once after it is gone, which fails."""
    # Prometheus spreads its targets over the interval by a hash as well.
    first = zlib.crc32(pod.name.encode()) % SCRAPE_SECONDS
    blind = [each.span for each in scenario.blind if each.pod in ("", pod.name)]
    begin, end = pod.life.begin + _DISCOVERY_SECONDS, pod.life.end + SCRAPE_SECONDS
    begin += (first - begin) % SCRAPE_SECONDS
    for at in range(begin, min(end, scenario.length), SCRAPE_SECONDS):
        if not any(span.holds(at) for span in scenario.down):
            yield at, pod.life.holds(at) and not any(span.holds(at) for span in blind)


def _scrape_pod(scenario: Scenario, pod: Pod, processes: Sequence[Process]) -> Iterator[Series]:
    """A pod's series; where no process answers, a scrape fails as well."""
    seen: list[tuple[int, Process | None]] = []
    for at, succeeds in list_scrapes(scenario, pod):
        process = next((it for it in processes if it.life.holds(at)), None) if succeeds else None
        if process is not None or (seen and seen[-1][1] is not None):
            seen.append((at, process))

    def build(metric: str, labels: str, read: Callable[[Process, int], int]) -> Series:
        samples = [(at, NOTHING if it is None else float(read(it, at))) for at, it in seen]
        return Series(f'{metric}{{{_IDENTITY},pod="{pod.name}"{labels}}}', samples)

    def counter(name: str) -> Callable[[Process, int], int]:
        return lambda process, at: getattr(process, name)[at - process.life.begin]

    route = ',method="POST",endpoint="/predict"'
    for status, name in (("2xx", "answered"), ("4xx", "refused"), ("5xx", "failed")):
        yield build("http_requests_total", f'{route},status="{status}"', counter(name))
    duration, good = "http_request_duration_seconds", f'{route},status="2xx"'
    yield build(f"{duration}_count", good, counter("answered"))
    yield build(f"{duration}_bucket", f'{good},le="0.3"', counter("fast"))
    yield build("process_start_time_seconds", "", lambda process, _: EPOCH + process.life.begin)
