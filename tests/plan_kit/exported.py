"""What there is to ask Prometheus for.

That is what the runtime and the operator export, and what the rules make of it. Selectors are
matched against it as Prometheus does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from igw_operator import conventions
from igw_operator.api.objects import Manifest
from igw_operator.metrics import Metrics as OperatorMetrics
from igw_runtime.serving.cpu import CpuBudget
from igw_runtime.settings import parse_settings
from igw_runtime.telemetry.metrics import Metrics
from plan_kit.children import build
from plan_kit.prometheus import Series
from runtime_kit.colours import SERVED

# Scraping puts these on: `test_gives_series_the_identity_that_rules_select_by`.
IDENTITY: Final = {"namespace": "demo", "gateway": "photos"}
OPERATOR_POD: Final = {"namespace": "igw-system", "pod": "igw-operator-0"}

_MATCHER: Final = re.compile(r'(\w+)(=~|!=|!~|=)"((?:[^"\\]|\\.)*)"')
_BUDGET: Final = CpuBudget(threads=1, quota_cores=1, limited=False, stat_path=Path("/nowhere"))


def find(samples: Iterable[Sample], name: str, matchers: str) -> Iterator[Sample]:
    """Samples that a selector selects."""
    wanted = _MATCHER.findall(matchers)
    for sample in samples:
        if sample.name == name and all(
            _matches(sample.labels.get(label, ""), operator, value.replace("\\\\", "\\"))
            for label, operator, value in wanted
        ):
            yield sample


def scrape(registry: CollectorRegistry, **target: str) -> list[Sample]:
    """The samples of a registry with the labels of their target; their own labels stay."""
    text = generate_latest(registry).decode()
    return [
        it._replace(labels={**target, **it.labels})
        for family in text_string_to_metric_families(text)
        for it in family.samples
    ]


def grow(sample: Sample) -> Series:
    """Half an hour of a sample: counters count one each time, all else stays at 1."""
    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in sample.labels.items())
    is_counter = sample.name.endswith(("_total", "_count", "_sum", "_bucket"))
    return Series(f"{sample.name}{{{labels}}}", "0+1x60" if is_counter else "1+0x60")


def scrape_runtime() -> list[Sample]:
    """What a runtime of demo/photos exports after its first request."""
    document = build()["ConfigMap", "photos-config"]["data"][conventions.CONFIG_FILE]
    metrics = Metrics(parse_settings(document.encode()).settings.live.metrics)
    metrics.models.show(SERVED)
    metrics.show_live_hash("0123456789abcdef")
    metrics.show_state("ready")
    metrics.register_process(_BUDGET)
    metrics.watch_logs(dict)
    metrics.watch_spans(dict)
    metrics.models.meter(SERVED).count_prediction("red", 0.9)
    metrics.models.meter(SERVED).count_inference(1, 0.01)
    return scrape(metrics.registry, **IDENTITY, pod="photos-0")


def scrape_operator() -> list[Sample]:
    """What an operator with demo/photos exports once everything has happened once."""
    metrics = OperatorMetrics()
    metrics.set_desired_replicas(IDENTITY["namespace"], IDENTITY["gateway"], 1)
    metrics.set_ready(IDENTITY["namespace"], IDENTITY["gateway"], is_ready=True)
    for metric in vars(metrics).values():
        names = getattr(metric, "_labelnames", ())
        if names and "gateway" not in names:
            metric.labels(*names)
    return scrape(metrics.registry, **OPERATOR_POD)


def list_recorded(groups: Iterable[Manifest]) -> Iterator[Sample]:
    """Series that rules make: their records, and ALERTS, which Prometheus makes of alerts."""
    for rule in (rule for group in groups for rule in group["rules"]):
        if "record" in rule:
            yield Sample(rule["record"], rule["labels"], 1)
            continue
        for state in ("pending", "firing"):
            labels = {"alertname": rule["alert"], "alertstate": state, **rule["labels"]}
            yield Sample("ALERTS", labels, 1)


def _matches(value: str, operator: str, wanted: str) -> bool:
    is_equal = re.fullmatch(wanted, value) is not None if "~" in operator else value == wanted
    return is_equal is not operator.startswith("!")
