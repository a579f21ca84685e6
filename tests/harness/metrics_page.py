"""The page of the operator's own metrics, ``docs/metrics.md``, written from their declarations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Metric, ProcessCollector

from igw_operator.metrics import Metrics

_INTRODUCTION: Final = """\
<!-- Generated from operator/igw_operator/metrics.py by `make generate`. Do not edit. -->
# Metrics of the operator

What one operator process says about itself, on `/metrics` of the port `IGW_METRICS_PORT`. The
ServiceMonitor in `manifests/operator-monitoring` has them scraped. Those of the model servers are
in [runtime.md](runtime.md#metrics).

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"""
_QUESTIONS: Final = """
## Questions that they answer

| Question | PromQL |
|---|---|
"""
QUESTIONS: Final = {
    "Does anybody work?": "sum(igw_operator_active) == 1",
    "Does it keep up?": "max(igw_operator_queue_oldest_seconds) < 60",
    "How long does a reconcile take?": (
        "histogram_quantile(0.99, sum by (le) "
        "(rate(igw_operator_reconcile_duration_seconds_bucket[5m])))"
    ),
    "Is a settled fleet left alone?": (
        "sum by (kind, reason) (increase(igw_operator_api_writes_total[1h]))"
    ),
    "Who changes what is ours?": (
        'sum by (kind) (increase(igw_operator_api_writes_total{reason="drift"}[1h]))'
    ),
    "Who adds to what is ours?": "igw_operator_foreign_fields",
    "Did a watch miss something?": (
        "sum by (kind, what) (increase(igw_operator_resync_discrepancies_total[1d]))"
    ),
    "Which gateways are not Ready?": "igw_operator_gateway_ready == 0",
    "Does a rollout wait for somebody?": "igw_operator_rollout_held == 1",
}
"""Questions of those who run the operator, and PromQL that answers them."""


def metrics_page() -> str:
    """The whole page."""
    questions = (f"| {question} | `{query}` |\n" for question, query in QUESTIONS.items())
    return _INTRODUCTION + "".join(_rows()) + _QUESTIONS + "".join(questions)


def _rows() -> Iterator[str]:
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (described,) = metric.describe()
            yield _row(described, metric._labelnames)
    for described in ProcessCollector(registry=None).collect():
        yield _row(described, ())


def _row(described: Metric, label_names: Sequence[str]) -> str:
    suffix = "_total" if described.type == "counter" else ""
    labels = ", ".join(f"`{label}`" for label in label_names)
    name = f"`{described.name}{suffix}`"
    return f"| {name} | {described.type} | {labels} | {described.documentation} |\n"
