from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from igw_runtime.telemetry.histogram import LiveHistogram

BUCKETS = (0.1, 0.25, 1.0, 10.0)
durations = st.lists(st.floats(0, 20), max_size=40)


def a_histogram(registry: CollectorRegistry) -> LiveHistogram:
    """Return a registered histogram."""
    histogram = LiveHistogram("seconds", "Time.", labels=["status"], buckets=BUCKETS)
    registry.register(histogram)
    return histogram


def read_cumulative(registry: CollectorRegistry) -> dict[str, float]:
    """Return the cumulative counts by bound."""
    return {
        sample.labels["le"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "seconds_bucket"
    }


@given(durations)
def test_renders_exactly_as_client_python_does(values: list[float]) -> None:
    """Every line, `le` text included, equals that of the library's own histogram."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = a_histogram(ours)
    mine.prepare("2xx")
    reference = Histogram("seconds", "Time.", ["status"], buckets=BUCKETS, registry=theirs)
    reference.labels("2xx")
    for value in values:
        mine.observe(value, "2xx")
        reference.labels("2xx").observe(value)

    lines = generate_latest(theirs).decode().splitlines()
    expected = sorted(line for line in lines if "_created" not in line)
    assert expected == sorted(generate_latest(ours).decode().splitlines())


@given(durations, st.lists(st.floats(0.01, 20), min_size=1, max_size=5), durations)
def test_added_buckets_keep_counts_cumulative(
    before: list[float], added: list[float], after: list[float]
) -> None:
    """A new bucket starts level with the one below it, and no older bucket moves."""
    registry = CollectorRegistry()
    histogram = a_histogram(registry)
    histogram.prepare("2xx")
    for value in before:
        histogram.observe(value, "2xx")
    old = read_cumulative(registry)

    histogram.ensure_buckets(added)
    new = read_cumulative(registry)
    bounds = sorted(new, key=float)

    assert old == {bound: new[bound] for bound in old}
    for lower, bound in pairwise(bounds):
        assert new[lower] <= new[bound]
        if bound not in old:
            assert new[bound] == new[lower]
    for value in after:
        histogram.observe(value, "2xx")
    latest = read_cumulative(registry)
    for bound in bounds:
        assert latest[bound] - new[bound] == sum(value <= float(bound) for value in after)


def test_adding_a_known_bucket_changes_nothing() -> None:
    """Settings that name a default bucket do not make a second one."""
    registry = CollectorRegistry()
    histogram = a_histogram(registry)
    histogram.observe(0.2, "2xx")
    before = read_cumulative(registry)

    histogram.ensure_buckets([0.25, 1])

    assert before == read_cumulative(registry)


def test_exemplars_are_rendered_in_openmetrics_only() -> None:
    """The exemplar sits on its bucket, in the format that knows exemplars."""
    registry = CollectorRegistry()
    a_histogram(registry).observe(0.5, "5xx", exemplar={"trace_id": "ab" * 16})

    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]

    assert 'seconds_bucket{le="1.0",status="5xx"} 1.0 # {trace_id="' + "ab" * 16 in text
    assert "trace_id" not in generate_latest(registry).decode()


def test_wrong_number_of_labels_is_an_error() -> None:
    """A call that would corrupt the series fails loudly."""
    histogram = a_histogram(CollectorRegistry())

    with pytest.raises(ValueError, match="needs the labels"):
        histogram.observe(1.0)
