"""A Prometheus histogram whose buckets can grow while the process runs.

client_python's Histogram fixes its buckets at construction, and an SLO edit must not restart a
pod. Counts are kept per interval, so a bucket that is added to a live series starts at the
cumulative count of the bucket below it: counts stay monotonic and `rate()` is right from then on.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString


@dataclass(slots=True)
class _Series:
    """One label set: counts per interval (the last one is +Inf), sum, newest exemplars."""

    counts: list[int]
    exemplars: list[Exemplar | None]
    total: float = field(default=0.0)


class LiveHistogram(Collector):
    """Observes like a Histogram, renders like one, and accepts more buckets at any time."""

    def __init__(
        self, name: str, documentation: str, *, labels: Sequence[str], buckets: Iterable[float]
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = sorted(set(buckets))
        self._series: dict[tuple[str, ...], _Series] = {}
        self._lock = threading.Lock()

    def prepare(self, *label_values: str) -> None:
        """Create the series at zero, so that its first event is not lost to `rate()`."""
        with self._lock:
            self._get(label_values)

    def observe(
        self, value: float, *label_values: str, exemplar: Mapping[str, str] | None = None
    ) -> None:
        """Count one value; an exemplar replaces the bucket's previous one."""
        with self._lock:
            series = self._get(label_values)
            index = bisect_left(self._bounds, value)
            series.counts[index] += 1
            series.total += value
            if exemplar:
                series.exemplars[index] = Exemplar(dict(exemplar), value)

    def ensure_buckets(self, bounds: Iterable[float]) -> None:
        """Add the bounds that are missing; none is ever taken away from a running series."""
        with self._lock:
            for bound in sorted(set(bounds) - set(self._bounds)):
                index = bisect_left(self._bounds, bound)
                self._bounds.insert(index, bound)
                for series in self._series.values():
                    # What lies in the split interval is counted above the new bound: the new
                    # bucket starts level with the one below it.
                    series.counts.insert(index, 0)
                    series.exemplars.insert(index, None)

    def describe(self) -> Iterable[Metric]:
        """Tell the registry the name without rendering."""
        return [Metric(self._name, self._documentation, "histogram")]

    def collect(self) -> Iterable[Metric]:
        """Render every series, cumulative."""
        metric = Metric(self._name, self._documentation, "histogram")
        with self._lock:
            bounds = [*(_print(bound) for bound in self._bounds), "+Inf"]
            for label_values, series in self._series.items():
                labels = dict(zip(self._labels, label_values, strict=True))
                metric.samples.extend(self._render(labels, bounds, series))
        return [metric]

    def _get(self, label_values: tuple[str, ...]) -> _Series:
        series = self._series.get(label_values)
        if series is None:
            if len(label_values) != len(self._labels):
                message = f"{self._name} needs the labels {self._labels}"
                raise ValueError(message)
            size = len(self._bounds) + 1
            series = self._series[label_values] = _Series([0] * size, [None] * size)
        return series

    def _render(
        self, labels: dict[str, str], bounds: Sequence[str], series: _Series
    ) -> Iterable[Sample]:
        cumulative = 0
        for bound, count, exemplar in zip(bounds, series.counts, series.exemplars, strict=True):
            cumulative += count
            yield Sample(
                f"{self._name}_bucket", {**labels, "le": bound}, float(cumulative), None, exemplar
            )
        yield Sample(f"{self._name}_count", labels, float(cumulative))
        yield Sample(f"{self._name}_sum", labels, series.total)


def _print(bound: float) -> str:
    """Write a bound exactly as client_python does, or rules that match `le` miss it."""
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text
