"""Rounds of questions about a whole fleet, and what of the answers reaches which gateway."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from factories import a_gateway, with_drill
from igw_operator import conventions, kinds
from igw_operator.api.objects import Gateway, Manifest, ObjectKey
from igw_operator.errors import PrometheusError
from igw_operator.judge.snapshot import DrillReading, Reading, SpanLoss
from igw_operator.plan.children import build_children
from igw_operator.plan.slo.alerts import ALERT_DRILL
from igw_operator.world.alertmanager import ReceivedAlert
from igw_operator.world.cache import Cache
from igw_operator.world.drills import DRILLS_QUERY
from igw_operator.world.monitoring import Monitoring
from igw_operator.world.prometheus import Sample, Vector
from igw_operator.world.proof import (
    LOSSES_QUERY,
    OPERATOR_QUERY,
    QUERIES,
    RECORDS_QUERY,
    SETTINGS_QUERY,
    UP_QUERY,
    build_wanted,
)
from operator_fakes import FakeClock
from plan_kit.children import an_input

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
EVERYTHING: dict[str, Any] = {
    "retention": "30d",
    "serviceMonitorSelector": {},
    "serviceMonitorNamespaceSelector": {},
    "ruleSelector": {},
    "ruleNamespaceSelector": {},
}


DRILL_AT = datetime(2026, 1, 1, 1, tzinfo=UTC)
DRILL_LABELS = {"namespace": "demo", "gateway": "photos", "drill": "2026-01-01T01:00:00Z"}


class FakePrometheus:
    """One server: what it knows of each gateway."""

    def __init__(self) -> None:
        self.pods: dict[ObjectKey, dict[str, bool]] = {}
        self.records: dict[ObjectKey, list[Sample]] = {}
        self.operator: set[ObjectKey] = set()
        self.collectors: set[ObjectKey] = set()
        self.losses: dict[ObjectKey, dict[str, float]] = {}
        self.settings: dict[ObjectKey, list[tuple[str, str]]] = {}
        self.target_errors: dict[str, str] = {}
        self.rule_error = ""
        self.at = AT
        self.fires_since: datetime | None = None
        self.alerts: list[ReceivedAlert] = []
        self.is_down = False
        self.hangs = False

    def learn(self, gateway: Gateway, *, budget: float = 0.9, up: bool = True) -> None:
        """Scrape a gateway and evaluate its rules."""
        self.pods[gateway.key] = {f"{gateway.name}-1": up}
        self.operator.add(gateway.key)
        wanted = build_wanted(gateway, children_of(gateway))
        assert wanted is not None
        self.settings[gateway.key] = [(f"{gateway.name}-1", wanted.live_hash)]
        self.records[gateway.key] = [
            Sample({"__name__": name, **dict(it.labels), "prometheus": "x"}, value)
            for it in wanted.objectives
            for name, value in {
                "igw:slo_objective:ratio": it.target,
                "igw:slo_errors_per_event:ratio_rate1h": it.allowed * 2,
                "igw:slo_errors_per_event:ratio_rate7d": 1.0,
                "igw:slo_errors_per_event:ratio_rate30d": it.allowed * (1 - budget),
                "igw:slo_window_coverage:ratio": 0.5,
            }.items()
        ]

    def list_drills(self) -> Vector:
        """The drill of photos, if it fires."""
        since = self.fires_since
        return Vector([] if since is None else [Sample(DRILL_LABELS, since.timestamp())], AT)


class FakeClient:
    """The client of all servers, by their address; counts what it is asked."""

    def __init__(self) -> None:
        self.servers: dict[str, FakePrometheus] = {}
        self.asked: Counter[str] = Counter()

    async def query(self, server: str, promql: str) -> Vector:
        """Answer as Prometheus would."""
        self.asked["query"] += 1
        found = await self._reach(server)
        if promql == RECORDS_QUERY:
            return Vector([it for some in found.records.values() for it in some], found.at)
        if promql == UP_QUERY:
            return Vector(
                [
                    Sample({**_identify(key), "pod": pod}, float(up))
                    for key, pods in found.pods.items()
                    for pod, up in pods.items()
                ]
                + [
                    Sample(_identify(key) | {"component": "collector", "pod": "c"}, 1.0)
                    for key in found.collectors
                ],
                found.at,
            )
        if promql == LOSSES_QUERY:
            return Vector(
                [
                    Sample(_identify(key) | {"where": where}, count)
                    for key, lost in found.losses.items()
                    for where, count in lost.items()
                ],
                found.at,
            )
        if promql == SETTINGS_QUERY:
            return Vector(
                [
                    Sample({**_identify(key), "pod": pod, "hash": digest}, 1.0)
                    for key, pairs in found.settings.items()
                    for pod, digest in pairs
                ],
                AT,
            )
        if promql == DRILLS_QUERY:
            return found.list_drills()
        assert promql == OPERATOR_QUERY
        return Vector([Sample(_identify(key), 1.0) for key in found.operator], found.at)

    async def alertmanagers(self, server: str) -> list[str]:
        """Each server has one of its own."""
        self.asked["alertmanagers"] += 1
        await self._reach(server)
        return [f"{server}/api/v2/alerts"]

    async def alerts(self, alertmanager: str, name: str) -> list[ReceivedAlert]:
        """What it has been sent."""
        self.asked["alerts"] += 1
        assert name == ALERT_DRILL
        return (await self._reach(alertmanager.removesuffix("/api/v2/alerts"))).alerts

    async def rule_errors(self, server: str, groups: Sequence[str]) -> dict[str, str]:
        """All groups fail, or none."""
        self.asked["rules"] += 1
        found = await self._reach(server)
        return dict.fromkeys(groups, found.rule_error) if found.rule_error else {}

    async def target_errors(self, server: str, scrape_pool: str) -> dict[str, str]:
        """The targets that are down."""
        self.asked["targets"] += 1
        assert re.fullmatch(r"serviceMonitor/demo/[a-z0-9]+/0", scrape_pool)
        return (await self._reach(server)).target_errors

    async def _reach(self, server: str) -> FakePrometheus:
        await asyncio.sleep(0)
        found = self.servers[server]
        if found.hangs:
            await asyncio.sleep(3600)
        if found.is_down:
            message = "connection refused"
            raise PrometheusError(message)
        return found


def _identify(key: ObjectKey) -> dict[str, str]:
    return {"namespace": key.namespace, "gateway": key.name}


class Stage:
    """Monitoring over fakes: a cache, servers, a clock, and who was queued."""

    def __init__(self, address: str = "") -> None:
        self.clock = FakeClock()
        self.cache = Cache()
        self.client = FakeClient()
        self.queued: list[ObjectKey] = []
        self.errors: list[str] = []
        client: Any = self.client
        self.monitoring = Monitoring(
            cache=self.cache,
            client=client,
            address=address,
            interval_seconds=30,
            operator_monitor=ObjectKey("igw-system", "igw-operator"),
            enqueue=self.queued.append,
            clock=self.clock,
            now=self.clock.now,
            count_error=lambda: self.errors.append("failed"),
        )
        self._version = 0

    def add_prometheus(self, name: str = "main", **spec: Any) -> FakePrometheus:
        """A Prometheus object in a namespace of its own, and the server behind it."""
        manifest = {"metadata": {"name": name, "namespace": name}, "spec": EVERYTHING | spec}
        self.put(kinds.PROMETHEUS, manifest)
        url = f"http://prometheus-operated.{name}.svc:9090"
        return self.client.servers.setdefault(url, FakePrometheus())

    def add_pod(self, gateway: str = "photos", *, ready_at: str = "2020-01-01T00:00:00Z") -> None:
        """A ready pod of a gateway."""
        labels = {conventions.LABEL_GATEWAY: gateway, conventions.LABEL_NAME: "igw-runtime"}
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": ready_at}
        metadata = {"name": f"{gateway}-1", "namespace": "demo", "labels": labels}
        self.put(kinds.POD, {"metadata": metadata, "status": {"conditions": [condition]}})

    def put(self, resource: Any, manifest: Manifest) -> None:
        """Have an object in the cache."""
        self._version += 1
        metadata = manifest["metadata"] | {"resourceVersion": str(self._version)}
        self.cache.put(resource, manifest | {"kind": resource.kind, "metadata": metadata})

    def read(self, gateway: Gateway) -> Reading | None:
        """What the reconcile of a gateway is told."""
        return self.monitoring.read(gateway, children_of(gateway))

    async def rounds(self, count: int = 1) -> list[ObjectKey]:
        """So many rounds, half a minute each; return who was queued in them."""
        self.queued.clear()
        for _ in range(count):
            self.clock.seconds += 30
            await self.monitoring.refresh()
        return list(self.queued)


def children_of(gateway: Gateway) -> list[Manifest]:
    """What the gateway becomes."""
    return build_children(replace(an_input(), gateway=gateway))


PHOTOS = a_gateway()


async def test_a_full_proof() -> None:
    """Scraped, every pod; loaded, with the numbers of the spec; and the numbers themselves."""
    stage = Stage()
    stage.add_prometheus().learn(PHOTOS)
    stage.add_pod()
    await stage.monitoring.prime()

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert reading.is_proof
    assert (reading.server, reading.as_of) == ("Prometheus main/main", AT)
    for slo in reading.slos:
        assert slo.budget_remaining == pytest.approx(0.9)
        assert slo.burn_rate == pytest.approx(2)
        assert slo.coverage == 0.5


async def test_lost_spans_are_news_and_so_is_their_end() -> None:
    """By order of magnitude: what trembles around a number queues nobody."""
    stage = Stage()
    server = stage.add_prometheus()
    server.learn(PHOTOS)
    stage.add_pod()
    await stage.monitoring.prime()
    stage.read(PHOTOS)
    assert await stage.rounds() == []

    server.losses[PHOTOS.key] = {"runtime": 7.4, "backend": 318.2}
    assert await stage.rounds() == [PHOTOS.key]
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.spans_lost == ((SpanLoss.BACKEND, 300), (SpanLoss.RUNTIME, 7))
    for count in (200, 550, 349, 351):
        server.losses[PHOTOS.key] = {"runtime": 6.0, "backend": count}
        assert await stage.rounds() == []

    server.losses.clear()
    assert await stage.rounds() == [PHOTOS.key]


async def test_a_collector_that_is_scraped_serves_nothing() -> None:
    """Its pod proves nothing of the gateway's pods, but that its own numbers are known."""
    stage = Stage()
    server = stage.add_prometheus()
    server.learn(PHOTOS)
    server.pods.clear()
    stage.add_pod()
    await stage.monitoring.prime()
    stage.read(PHOTOS)
    server.collectors.add(PHOTOS.key)
    assert PHOTOS.key in await stage.rounds()
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert (reading.is_collector_scraped, reading.has_targets) == (True, False)


def test_of_two_monitors_the_runtimes_is_to_be_proven() -> None:
    """Whichever comes first."""
    children = children_of(PHOTOS)
    monitors = [it["metadata"]["name"] for it in children if it["kind"] == "ServiceMonitor"]
    assert sorted(monitors) == ["photos", "photos-collector"]
    for order in (children, children[::-1]):
        wanted = build_wanted(PHOTOS, order)
        assert wanted is not None
        assert wanted.monitor.name == "photos"


async def test_before_the_first_answer_nothing_is_known() -> None:
    """And a server that hangs does not hold up the start."""
    stage = Stage()
    assert stage.read(PHOTOS) is None
    stage.add_prometheus().is_down = True
    await stage.monitoring.prime()
    assert stage.read(PHOTOS) is None


async def test_without_any_prometheus_it_is_said_at_once() -> None:
    """Nobody will answer, ever: no second status write when the first round is over."""
    stage = Stage()
    await stage.monitoring.prime()

    assert stage.read(PHOTOS) == Reading()
    assert await stage.rounds(5) == []
    assert not stage.client.asked


async def test_idle_rounds_queue_nobody() -> None:
    """The same answers, and answers within the step, are no news."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    stage.add_pod()
    await stage.monitoring.prime()
    stage.read(PHOTOS)

    assert await stage.rounds(10) == []
    prometheus.learn(PHOTOS, budget=0.9004)
    assert await stage.rounds(10) == []
    prometheus.learn(PHOTOS, budget=0.9011)
    assert await stage.rounds(10) == [PHOTOS.key]


async def test_a_thousand_gateways_cost_as_many_questions_as_one() -> None:
    """Also where none of them has its proof, and each would have a story to tell."""
    counts = {}
    for size in (10, 1000):
        stage = Stage()
        prometheus = stage.add_prometheus()
        for number in range(size):
            gateway = a_gateway(f"g{number}")
            prometheus.learn(gateway, up=False)
            prometheus.records.clear()
            stage.add_pod(gateway.name)
            stage.read(gateway)
        await stage.rounds(1)
        counts[size] = dict(stage.client.asked)

    assert counts[1000] == counts[10] == {"query": len(QUERIES), "rules": 5, "targets": 5}


async def test_only_who_has_news_is_queued() -> None:
    """One of many goes a step."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    gateways = [a_gateway(f"g{number}") for number in range(300)]
    for gateway in gateways:
        prometheus.learn(gateway)
        stage.add_pod(gateway.name)
        stage.read(gateway)
    assert set(await stage.rounds(1)) == {it.key for it in gateways}

    prometheus.learn(gateways[7], budget=0.5)
    assert await stage.rounds(2) == [gateways[7].key]
    stage.monitoring.forget(gateways[7].key)
    prometheus.learn(gateways[7], budget=0.1)
    assert await stage.rounds(2) == []


async def test_a_prometheus_that_restarts_is_no_news() -> None:
    """Silence is told of after some rounds, and its end after one."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    stage.add_pod()
    await stage.monitoring.prime()
    stage.read(PHOTOS)

    prometheus.is_down = True
    assert await stage.rounds(2) == []
    assert await stage.rounds(1) == [PHOTOS.key]
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert (reading.error, reading.is_proof) == ("connection refused", False)
    assert len(stage.errors) == 3
    assert await stage.rounds(20) == []

    prometheus.is_down = False
    assert await stage.rounds(1) == [PHOTOS.key]


async def test_any_of_several_is_enough() -> None:
    """The others select something else, or do not answer."""
    stage = Stage()
    stage.add_prometheus("aaa", serviceMonitorSelector={"matchLabels": {"team": "other"}})
    stage.add_prometheus("bbb").is_down = True
    stage.add_prometheus("ccc").learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert reading.server == "Prometheus ccc/ccc"
    assert reading.is_proof


async def test_the_one_that_selects_is_the_one_to_speak_of() -> None:
    """It does not answer: Unknown, although another one, which does, could not know."""
    stage = Stage()
    stage.add_prometheus("aaa", ruleSelector=None)
    stage.add_prometheus("bbb").is_down = True
    stage.add_pod()
    await stage.rounds(3)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert (reading.server, reading.error) == ("Prometheus bbb/bbb", "connection refused")
    assert reading.faults == ()


async def test_where_none_selects_each_says_why() -> None:
    """Labels of the objects and of their namespace are compared."""
    stage = Stage()
    stage.put(kinds.NAMESPACE, {"metadata": {"name": "demo", "labels": {"team": "vision"}}})
    by_team = {"matchLabels": {"team": "sre"}}
    stage.add_prometheus("aaa", ruleNamespaceSelector=by_team)
    stage.add_prometheus("bbb", serviceMonitorSelector={"matchLabels": {"release": "kps"}})
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    rules, monitor = reading.faults
    assert rules.startswith("Prometheus aaa/aaa does not select PrometheusRule photos-slo: its ")
    assert rules.endswith("wants label team=sre on namespace demo, not 'vision'")
    assert monitor.startswith("Prometheus bbb/bbb does not select ServiceMonitor photos: its ")
    assert monitor.endswith("Selector wants label release=kps, which is not there")


async def test_an_address_that_was_told_is_the_only_one_asked() -> None:
    """Objects still explain what it lacks."""
    stage = Stage(address="http://thanos:9090/")
    stage.add_prometheus(ruleSelector=None)
    stage.client.servers["http://thanos:9090"] = thanos = FakePrometheus()
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.server == "Prometheus http://thanos:9090/"
    assert "its spec.ruleSelector is absent" in reading.faults[0]

    thanos.learn(PHOTOS)
    await stage.rounds(1)
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.is_proof


async def test_a_failing_scrape_is_told_in_prometheus_words() -> None:
    """Asked for only where something is wrong."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)
    stage.read(PHOTOS)
    assert stage.client.asked == {"query": len(QUERIES)}

    prometheus.learn(PHOTOS, up=False)
    prometheus.target_errors = {"photos-1": "context deadline exceeded"}
    assert await stage.rounds(1) == [PHOTOS.key], "once, and with the words"
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.down == (("photos-1", "context deadline exceeded"),)

    prometheus.learn(PHOTOS)
    assert await stage.rounds(1) == [PHOTOS.key]
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.is_proof


async def test_a_failing_rule_is_told_in_prometheus_words() -> None:
    """Where the record that proves it is missing."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    del prometheus.records[PHOTOS.key]
    prometheus.rule_error = "many-to-many matching not allowed"
    stage.add_pod()
    stage.read(PHOTOS)
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert reading.rule_error == "many-to-many matching not allowed"


async def test_an_edited_objective_is_measured_at_once() -> None:
    """By the same ratio; that Prometheus has the new rules is another thing."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)
    edited = a_gateway(slo={"availability": {"objective": 99.9}})

    reading = stage.read(edited)

    assert reading is not None
    assert [slo.is_recorded for slo in reading.slos] == [False, True]
    assert reading.slos[0].budget_remaining == pytest.approx(0.5)
    assert not reading.is_proof
    assert await stage.rounds(3) == []
    prometheus.learn(edited)
    assert await stage.rounds(1) == [PHOTOS.key]


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        ({"latency": {"threshold": "500ms"}}, [1]),
        ({"window": "28d"}, [0, 1]),
        ({"window": "month"}, [0, 1]),
    ],
    ids=["threshold", "window", "calendar month"],
)
async def test_with_another_threshold_or_window_there_is_no_number_yet(
    edit: dict[str, Any], changed: list[int]
) -> None:
    """What is recorded is of another budget."""
    stage = Stage()
    stage.add_prometheus().learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(a_gateway(slo=edit))

    assert reading is not None
    missing = [at for at, slo in enumerate(reading.slos) if slo.budget_remaining is None]
    assert missing == changed


async def test_a_new_pod_has_time_to_be_scraped() -> None:
    """Scaling up is no reason to write a status twice."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    prometheus.pods[PHOTOS.key] = {"photos-0": True}
    stage.add_pod(ready_at=stage.clock.now().isoformat())
    await stage.rounds(1)
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.is_proof

    assert await stage.rounds(2) == []
    assert await stage.rounds(1) == [PHOTOS.key]
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.silent == ("photos-1",)


async def test_patience_ends() -> None:
    """What was on its way for ten minutes is missing; an edit begins a new wait."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    del prometheus.records[PHOTOS.key]
    stage.add_pod()
    await stage.rounds(1)
    stage.read(PHOTOS)

    assert await stage.rounds(19) == []
    assert await stage.rounds(1) == [PHOTOS.key]
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.is_overdue

    reading = stage.read(a_gateway(slo={"latency": {"threshold": "500ms"}}))
    assert reading is not None
    assert not reading.is_overdue


async def test_an_edit_of_live_settings_is_proven_by_the_pods_themselves() -> None:
    """Until each has the new ones it is no proof; then it is, and that is news."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)
    edited = a_gateway(observability={"logging": {"level": "debug"}})

    reading = stage.read(edited)

    assert reading is not None
    assert (reading.outdated, reading.is_proof) == (("photos-1",), False)
    assert await stage.rounds(3) == []
    assert stage.client.asked == {"query": 4 * len(QUERIES)}, (
        "nothing that /targets or /rules could explain"
    )
    prometheus.learn(edited)
    assert await stage.rounds(1) == [PHOTOS.key]
    reading = stage.read(edited)
    assert reading is not None
    assert reading.is_proof


async def test_live_settings_that_never_arrive_are_overdue_after_ten_minutes() -> None:
    """By the patience that everything else has; the gateway is queued once."""
    stage = Stage()
    stage.add_prometheus().learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)
    edited = a_gateway(observability={"tracing": {"enabled": False}})
    stage.read(edited)

    assert await stage.rounds(25) == [PHOTOS.key]
    reading = stage.read(edited)
    assert reading is not None
    assert (reading.outdated, reading.is_overdue) == (("photos-1",), True)


@pytest.mark.parametrize(
    ("told", "outdated"),
    [
        ([], ()),
        ([("photos-9", "0" * 16)], ()),
        ([("photos-1", "0" * 16)], ("photos-1",)),
        ([("photos-1", "0" * 16), ("photos-1", "NOW")], ()),
        ([("photos-1", "")], ("photos-1",)),
    ],
    ids=["says nothing", "a pod that is gone", "others", "two servers, one behind", "no digest"],
)
async def test_only_what_a_pod_says_of_itself_counts(
    told: list[tuple[str, str]], outdated: tuple[str, ...]
) -> None:
    """Silence is no evidence, and neither is what a pod said that is gone."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    ((_, now),) = prometheus.settings[PHOTOS.key]
    prometheus.settings[PHOTOS.key] = [(pod, now if it == "NOW" else it) for pod, it in told]
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert reading.outdated == outdated
    assert reading.is_proof == (not outdated)


async def test_alerts_need_the_operators_own_metrics() -> None:
    """Where there are alerts."""
    stage = Stage()
    prometheus = stage.add_prometheus(enforcedNamespaceLabel="namespace")
    prometheus.learn(PHOTOS)
    prometheus.operator.clear()
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)
    assert reading is not None
    assert (reading.knows_operator, reading.enforced, reading.is_proof) == (False, True, False)
    quiet = a_gateway(slo={"alerting": {"enabled": False}})
    reading = stage.read(quiet)
    assert reading is not None
    assert reading.is_proof


async def test_a_gateway_without_metrics_is_not_asked_about() -> None:
    """Nor is one whose rules are gone with their CRD."""
    stage = Stage()
    stage.add_prometheus()
    await stage.rounds(1)

    assert stage.monitoring.read(PHOTOS, []) is None
    assert await stage.rounds(3) == []


async def test_series_of_others_do_no_harm() -> None:
    """A metric named alike, without a namespace, without a pod, with any labels."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    prometheus.records[ObjectKey("", "")] = [
        Sample({"__name__": "igw:slo_objective:ratio"}, 0.1),
        Sample({"gateway": "photos"}, 1.0),
        Sample({"__name__": "igw:slo_objective:ratio", "namespace": "other"}, float("nan")),
    ]
    prometheus.pods[ObjectKey("other", "photos")] = {"photos-1": False}
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert reading.is_proof


async def test_a_prometheus_that_goes_takes_its_answers_with_it() -> None:
    """And one that comes is asked in the next round."""
    stage = Stage()
    stage.add_prometheus().learn(PHOTOS)
    stage.add_pod()
    await stage.rounds(1)
    stage.read(PHOTOS)
    stage.cache.drop_kind(kinds.PROMETHEUS)

    assert await stage.rounds(1) == [PHOTOS.key]
    assert stage.read(PHOTOS) == Reading()
    stage.add_prometheus("other").learn(PHOTOS)
    assert await stage.rounds(1) == [PHOTOS.key]


@pytest.mark.parametrize("hours", [-48, -1, 1, 48])
async def test_a_clock_that_differs_changes_nothing_but_the_time_of_the_numbers(
    hours: int,
) -> None:
    """Prometheus' own clock is told; what it says is neither older nor newer for it."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    prometheus.at = stage.clock.now() + timedelta(hours=hours)
    stage.add_pod()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert (reading.is_proof, reading.as_of) == (True, prometheus.at)
    assert await stage.rounds(5) == []


async def test_a_pod_from_the_future_is_waited_for() -> None:
    """The API server's clock is ahead: the pod is expected once our own has caught up."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    prometheus.pods[PHOTOS.key] = {"photos-0": True}
    stage.add_pod(ready_at=(stage.clock.now() + timedelta(minutes=10)).isoformat())
    await stage.rounds(10)
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.is_proof

    await stage.rounds(20)
    reading = stage.read(PHOTOS)
    assert reading is not None
    assert reading.silent == ("photos-1",)


async def test_namesakes_in_two_namespaces_are_two() -> None:
    """One is proven and has spent its budget, the other is neither."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    other = a_gateway(namespace="prod")
    prometheus.learn(PHOTOS, budget=-1)
    stage.add_pod()
    await stage.rounds(1)

    mine, others = stage.read(PHOTOS), stage.monitoring.read(other, children_of(other))

    assert mine is not None
    assert others is not None
    assert mine.slos[0].budget_remaining == pytest.approx(-1)
    assert (mine.is_proof, others.is_proof) == (True, False)
    assert {slo.budget_remaining for slo in others.slos} == {None}


async def test_a_gateway_under_a_new_name_begins_anew() -> None:
    """The series of its old name are still there, and prove nothing."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS, budget=-1)
    stage.add_pod()
    await stage.rounds(1)
    stage.read(PHOTOS)
    stage.monitoring.forget(PHOTOS.key)
    renamed = a_gateway("pictures")

    reading = stage.read(renamed)

    assert reading is not None
    assert not reading.is_proof
    assert {slo.budget_remaining for slo in reading.slos} == {None}
    prometheus.learn(renamed)
    assert await stage.rounds(1) == [renamed.key]


async def test_a_gateway_without_replicas_is_neither_proven_nor_at_fault() -> None:
    """Nothing is scraped, and nothing has to be; the rules are there all the same."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    prometheus.pods.clear()
    await stage.rounds(1)

    reading = stage.read(PHOTOS)

    assert reading is not None
    assert (reading.are_rules_loaded, reading.is_proof) == (True, False)
    assert (reading.expected, reading.silent, reading.down) == (0, (), ())
    assert await stage.rounds(30) == [], "and nobody is waited for"


DRILLING = with_drill(PHOTOS, "2026-01-01T01:00:00Z")


def drilling() -> tuple[Stage, FakePrometheus]:
    """A gateway that is monitored and has a drill; it is a minute before it."""
    stage = Stage()
    prometheus = stage.add_prometheus()
    prometheus.learn(PHOTOS)
    stage.add_pod()
    stage.clock.seconds = 2640 + 900
    return stage, prometheus


def drill_of(stage: Stage) -> DrillReading:
    """What the reconcile is told of the drill."""
    reading = stage.read(DRILLING)
    assert reading is not None
    assert reading.drill is not None
    return reading.drill


async def test_a_drill_is_followed_until_it_arrives() -> None:
    """The gateway is queued when it fires and when it has arrived, and not in between."""
    stage, prometheus = drilling()
    stage.read(DRILLING)
    assert await stage.rounds(1) == [PHOTOS.key]
    assert drill_of(stage) == DrillReading()
    assert await stage.rounds(3) == []

    prometheus.fires_since = DRILL_AT
    assert await stage.rounds(1) == [PHOTOS.key]
    assert (drill_of(stage).firing_at, drill_of(stage).delivered_at) == (DRILL_AT, None)
    assert await stage.rounds(3) == []

    prometheus.alerts = [
        ReceivedAlert(labels=DRILL_LABELS, updated_at=DRILL_AT, receivers=("pager",))
    ]
    assert await stage.rounds(1) == [PHOTOS.key]
    assert drill_of(stage).delivered_at == DRILL_AT
    later = DRILL_AT + timedelta(minutes=1)
    prometheus.alerts = [replace(prometheus.alerts[0], updated_at=later)]
    assert await stage.rounds(3) == []

    prometheus.alerts.clear()
    prometheus.fires_since = None
    assert await stage.rounds(23) == []
    assert await stage.rounds(1) == [PHOTOS.key], "it is over"
    assert drill_of(stage).is_over
    assert drill_of(stage).delivered_at == DRILL_AT


async def test_only_a_drill_that_is_on_costs_questions() -> None:
    """Neither that of yesterday, whose annotation stayed, nor that of tomorrow."""
    stage, prometheus = drilling()
    prometheus.fires_since = DRILL_AT
    stage.read(DRILLING)
    stage.clock.seconds = 0
    await stage.rounds(1)
    assert stage.client.asked == {"query": len(QUERIES)}
    stage.client.asked.clear()
    stage.clock.seconds = 2700 + 900
    await stage.rounds(1)
    assert stage.client.asked == {"query": len(QUERIES) + 1, "alertmanagers": 1, "alerts": 1}
    stage.client.asked.clear()
    stage.clock.seconds += 17 * 60
    await stage.rounds(2)
    assert stage.client.asked == {"query": 2 * len(QUERIES)}


async def test_another_drill_begins_anew() -> None:
    """What was seen of the one before is not told of the next."""
    stage, prometheus = drilling()
    prometheus.fires_since = DRILL_AT
    stage.read(DRILLING)
    await stage.rounds(2)
    assert drill_of(stage).firing_at == DRILL_AT

    reading = stage.read(with_drill(PHOTOS, "2026-01-01T01:05:00Z"))

    assert reading is not None
    assert reading.drill == DrillReading()


async def test_a_prometheus_that_does_not_answer_says_nothing_of_a_drill() -> None:
    """The reading has the error, and the drill is as unknown as all else."""
    stage, prometheus = drilling()
    prometheus.is_down = True
    stage.read(DRILLING)
    await stage.rounds(3)

    reading = stage.read(DRILLING)

    assert reading is not None
    assert (reading.error, reading.drill) == ("connection refused", DrillReading())
