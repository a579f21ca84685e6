"""What the questions themselves find, asked of Prometheus' own engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from igw_operator.world import proof
from plan_kit.prometheus import IDENTITY, Check, RuleBench, Series, flat, near

BACKEND = f'otelcol_exporter_send_failed_spans_total{{{IDENTITY},component="collector",pod="c"}}'
RUNTIME = f'igw_runtime_spans_lost_total{{{IDENTITY},reason="queue_full",pod="a"}}'
QUIET = f'otelcol_receiver_refused_spans_total{{{IDENTITY},component="collector",pod="c"}}'


def lost(where: str) -> str:
    """The answer of one place."""
    return f'({proof.LOSSES_QUERY}) and on (where) label_replace(vector(1),"where","{where}","","")'


def nothing(at: str, where: str) -> Check:
    """That the place is not in the answer at all."""
    return near(at, f"({lost(where)}) or on () vector(0)", 0)


@pytest.fixture
def bench(promtool: str, tmp_path: Path) -> RuleBench:
    """Prometheus' engine."""
    return RuleBench(promtool, tmp_path)


@pytest.mark.integration
def test_counts_lost_spans_from_the_first_to_the_last(bench: RuleBench) -> None:
    """A counter appears with its first loss, and that counts; what ended is gone in minutes."""
    series = [
        # 300 at once after ten minutes, in a counter that was not there before; then 60 a minute.
        Series(BACKEND, "_x20 300+0x10 300+30x20 900+0x40"),
        Series(RUNTIME, flat(20, 5) + " 25+0x60"),
        Series(QUIET, flat(45)),
    ]
    bench.run(
        series,
        nothing("9m", "backend"),
        near("11m", lost("backend"), 300),
        near("25m", lost("backend"), 300, tolerance=31),
        nothing("35m", "backend"),
        nothing("15m", "runtime"),
        near("22m", lost("runtime"), 20, tolerance=3),
        nothing("30m", "runtime"),
        nothing("30m", "refused"),
    )


@pytest.mark.integration
@pytest.mark.parametrize(
    "counter",
    [
        "otelcol_receiver_refused_spans",
        "otelcol_exporter_enqueue_failed_spans",
        "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early",
        "otelcol_exporter_send_failed_spans",
    ],
)
def test_asks_for_counters_that_the_pinned_collector_has(otelcol: str, counter: str) -> None:
    """They have been renamed before. `_total` is the Prometheus exporter's."""
    assert counter.encode() in Path(otelcol).read_bytes()
    assert f"{counter}_total{{" in proof.LOSSES_QUERY
