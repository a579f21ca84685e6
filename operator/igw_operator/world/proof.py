"""From the answers of one Prometheus about the whole fleet to what they say of one gateway.

Pure: ``world.monitoring`` asks the questions that stand here, each once for all gateways, and
puts the answers into an index; `read_slos` looks a gateway up in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import starmap
from typing import Final

from igw_operator import conventions
from igw_operator.api.objects import Gateway, Manifest, ObjectKey
from igw_operator.api.windows import Window
from igw_operator.judge.selection import Selectable
from igw_operator.judge.snapshot import SloReading, SpanLoss
from igw_operator.plan.runtime_config import build_settings, hash_live
from igw_operator.plan.slo.drill import Drill, find_drill
from igw_operator.plan.slo.names import COVERAGE, OBJECTIVE, ratio_name
from igw_operator.plan.slo.objective import build_objectives
from igw_operator.world.prometheus import Vector

_BURN: Final = ratio_name("1h")
# A pod that was scraped once within the last minute is scraped: one lost packet is no news.
UP_QUERY: Final = (
    f"max by (namespace, gateway, {conventions.TARGET_COMPONENT}, pod) "
    '(max_over_time(up{gateway!="",pod!=""}[1m]))'
)
# Not the budget's own record: ratios are those of any objective, so an edit of it is followed at
# once, whichever group of rules Prometheus evaluates first.
_RECORDS: Final = (OBJECTIVE, COVERAGE, _BURN, *(ratio_name(window) for window in Window))
RECORDS_QUERY: Final = f'{{__name__=~"{"|".join(_RECORDS)}"}}'
# Ten minutes: an operator that is being replaced is not scraped for a while.
OPERATOR_QUERY: Final = (
    f"group by (namespace, gateway) (last_over_time({conventions.METRIC_DESIRED_REPLICAS}[10m]))"
)
# Where spans are lost, on their way from the runtime to the backend. The collector's names are
# those of 0.155, which a test reads off the binary.
_LOSS_COUNTERS: Final[Mapping[SpanLoss, str]] = {
    SpanLoss.RUNTIME: conventions.METRIC_SPANS_LOST,
    SpanLoss.REFUSED: "otelcol_receiver_refused_spans_total",
    SpanLoss.CROWDED: "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total",
    SpanLoss.QUEUE: "otelcol_exporter_enqueue_failed_spans_total",
    SpanLoss.BACKEND: "otelcol_exporter_send_failed_spans_total",
}


def _ask_for_losses(where: SpanLoss, counter: str) -> str:
    mine = f'{counter}{{gateway!=""}}'
    # A counter appears with the first loss, which no increase shows: new, it counts whole.
    lost = f"({mine} unless {mine} offset 5m) or increase({mine}[5m])"
    summed = f"sum by (namespace, gateway) ({lost}) >= 0.5"
    return f'label_replace({summed}, "where", "{where}", "", "")'


LOSSES_QUERY: Final = " or ".join(starmap(_ask_for_losses, _LOSS_COUNTERS.items()))
# As of the last scrape: settings of before an edit would prove nothing.
SETTINGS_QUERY: Final = (
    "group by (namespace, gateway, pod, hash) "
    f'({conventions.METRIC_LIVE_SETTINGS}{{gateway!="",pod!=""}})'
)
QUERIES: Final = (UP_QUERY, RECORDS_QUERY, OPERATOR_QUERY, LOSSES_QUERY, SETTINGS_QUERY)
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class WantedObjective:
    """One objective, as its records have to be."""

    name: str
    labels: frozenset[tuple[str, str]]
    target: float

    @property
    def allowed(self) -> float:
        """Share of events that may be bad."""
        return float(1 - Decimal(repr(self.target)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What Prometheus has to know of one gateway, as its spec is now."""

    key: ObjectKey
    objectives: tuple[WantedObjective, ...]
    monitor: Selectable
    rules: Selectable
    groups: tuple[str, ...]
    """Names of its rule groups."""
    window: Window
    drill: Drill | None
    needs_operator: bool
    """Whether there are alerts that ask the operator's own metrics."""
    live_hash: str
    """Digest of the live settings that its pods are to follow."""

    @property
    def scrape_pool(self) -> str:
        """What the Prometheus Operator makes of the ServiceMonitor's only endpoint."""
        return f"serviceMonitor/{self.monitor.namespace}/{self.monitor.name}/0"


def build_wanted(gateway: Gateway, children: Iterable[Manifest]) -> Wanted | None:
    """What is wanted of a gateway with these children; None: it is not to be monitored."""
    others = gateway.child_name("collector")
    by_kind = {it["kind"]: it for it in children if it["metadata"]["name"] != others}
    monitor, rules = by_kind.get("ServiceMonitor"), by_kind.get("PrometheusRule")
    if monitor is None or rules is None:
        return None
    return Wanted(
        key=gateway.key,
        objectives=tuple(
            WantedObjective(it.name, frozenset(it.labels.items()), float(it.target))
            for it in build_objectives(gateway)
        ),
        monitor=_as_selectable(monitor),
        rules=_as_selectable(rules),
        groups=tuple(group["name"] for group in rules["spec"]["groups"]),
        window=gateway.spec.slo.window,
        drill=find_drill(gateway),
        needs_operator=gateway.spec.slo.alerting.enabled,
        live_hash=hash_live(build_settings(gateway)),
    )


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded sample; the labels do without its name."""

    name: str
    labels: frozenset[tuple[str, str]]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one server says of all gateways, by namespace and name."""

    at: datetime | None = None
    pods: Mapping[ObjectKey, Mapping[str, bool]] = field(default_factory=dict)
    """Whether each pod is scraped with success."""
    records: Mapping[ObjectKey, Sequence[Record]] = field(default_factory=dict)
    operator: frozenset[ObjectKey] = frozenset()
    collectors: frozenset[ObjectKey] = frozenset()
    """Gateways whose collector is scraped with success."""
    losses: Mapping[ObjectKey, Mapping[SpanLoss, float]] = field(default_factory=dict)
    """Spans lost within five minutes, where there are any."""
    settings: Mapping[ObjectKey, AbstractSet[tuple[str, str]]] = field(default_factory=dict)
    """Which live settings each pod follows, as pairs of its name and their digest."""


def index(
    up: Vector, records: Vector, operator: Vector, losses: Vector, settings: Vector
) -> Answer:
    """The answers to the queries, by gateway; series without one are left out."""
    pods: dict[ObjectKey, dict[str, bool]] = defaultdict(dict)
    collectors: set[ObjectKey] = set()
    for sample in up.samples:
        key = _key_of(sample.labels)
        if sample.labels.get(conventions.TARGET_COMPONENT) != conventions.COMPONENT_COLLECTOR:
            pods[key][sample.labels.get("pod", "")] = sample.value > 0
        elif sample.value > 0:
            collectors.add(key)
    lost: dict[ObjectKey, dict[SpanLoss, float]] = defaultdict(dict)
    for sample in losses.samples:
        lost[_key_of(sample.labels)][SpanLoss(sample.labels["where"])] = sample.value
    recorded: dict[ObjectKey, list[Record]] = defaultdict(list)
    shared: dict[frozenset[tuple[str, str]], frozenset[tuple[str, str]]] = {}
    for sample in records.samples:
        name = sample.labels.get("__name__", "")
        labels = frozenset(it for it in sample.labels.items() if it[0] != "__name__")
        record = Record(name, shared.setdefault(labels, labels), sample.value)
        recorded[_key_of(sample.labels)].append(record)
    followed: dict[ObjectKey, set[tuple[str, str]]] = defaultdict(set)
    for sample in settings.samples:
        pair = sample.labels.get("pod", ""), sample.labels.get("hash", "")
        followed[_key_of(sample.labels)].add(pair)
    return Answer(
        at=up.at or records.at or operator.at,
        pods=pods,
        records=recorded,
        operator=frozenset(_key_of(sample.labels) for sample in operator.samples),
        collectors=frozenset(collectors),
        losses=lost,
        settings=followed,
    )


def find_outdated(wanted: Wanted, answer: Answer, pods: Iterable[str]) -> tuple[str, ...]:
    """Those of the pods that are known to follow other live settings than the present ones.

    A pod that does not say which ones it follows is not among them: its scrape may have failed,
    or its image may be somebody else's.
    """
    followed = answer.settings.get(wanted.key, frozenset())
    telling = {pod for pod, _ in followed}
    return tuple(pod for pod in pods if pod in telling and (pod, wanted.live_hash) not in followed)


def read_slos(wanted: Wanted, answer: Answer) -> tuple[SloReading, ...]:
    """The objectives as they are recorded; with another threshold or window they are others."""
    records, ratio = answer.records.get(wanted.key, ()), ratio_name(wanted.window)
    return tuple(_read_slo(objective, ratio, records) for objective in wanted.objectives)


def _read_slo(objective: WantedObjective, ratio: str, records: Sequence[Record]) -> SloReading:
    mine: dict[str, float] = {}
    for record in records:
        if objective.labels <= record.labels:
            # Several, where one address leads to several servers: the least one counts.
            mine[record.name] = min(record.value, mine.get(record.name, record.value))
    target, spent, burnt = mine.get(OBJECTIVE), mine.get(ratio), mine.get(_BURN)
    return SloReading(
        name=objective.name,
        is_recorded=target is not None and abs(target - objective.target) < _TOLERANCE,
        budget_remaining=None if spent is None else 1 - spent / objective.allowed,
        burn_rate=None if burnt is None else burnt / objective.allowed,
        coverage=mine.get(COVERAGE),
    )


def _key_of(labels: Mapping[str, str]) -> ObjectKey:
    return ObjectKey(labels.get("namespace", ""), labels.get("gateway", ""))


def _as_selectable(manifest: Manifest) -> Selectable:
    metadata = manifest["metadata"]
    return Selectable(
        kind=manifest["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        labels=dict(metadata.get("labels") or {}),
    )
