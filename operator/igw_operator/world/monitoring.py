"""What Prometheus makes of the gateways: asked in rounds, a few questions for the whole fleet.

``control.reconcile`` takes each gateway's reading from here and never waits for one; a gateway
whose reading says something new is queued. A round costs each server five queries, however
many gateways there are, and a few more where some lack the proof and Prometheus may know why.
See ``docs/adr/0017``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from igw_operator import kinds
from igw_operator.api.objects import Gateway, Manifest, ObjectKey
from igw_operator.errors import PrometheusError
from igw_operator.judge.finding import Verdict
from igw_operator.judge.monitoring import judge_reading
from igw_operator.judge.selection import find_faults, name_of
from igw_operator.judge.snapshot import DrillReading, Reading
from igw_operator.judge.steps import step_budget, step_burn, step_coverage, step_losses
from igw_operator.plan.slo.drill import Drill
from igw_operator.world.cache import Cache, label_key
from igw_operator.world.drills import DrillAnswer, fetch_drills, is_better, read_drill
from igw_operator.world.prometheus import PrometheusClient, Vector
from igw_operator.world.proof import (
    QUERIES,
    Answer,
    Wanted,
    build_wanted,
    find_outdated,
    index,
    read_slos,
)
from igw_operator.world.servers import Server, find_servers

# A pod that has just become ready is known to Prometheus and scraped within that time.
_SETTLED: Final = timedelta(minutes=2)
# An edit reaches Prometheus through a mounted file (a minute or two), a reload and an interval.
_OVERDUE_SECONDS: Final = 600.0
# So many rounds in a row without an answer are an outage; a restart of Prometheus is none.
_MOST_FAILURES: Final = 3
_MOST_SERVERS: Final = 16
# By so much clocks may differ, and what is seen at a drill's very end is still on its way to us.
_AROUND_DRILL: Final = timedelta(minutes=2)
_CLOSER_LOOKS: Final = 5
_PRIME_SECONDS: Final = 5.0
_BATCH: Final = 200

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _State:
    """What is known of one server."""

    answer: Answer | None = None
    drills: DrillAnswer = field(default_factory=DrillAnswer)
    error: str = ""
    failures: int = 0

    @property
    def is_undecided(self) -> bool:
        """Whether it may still answer its first question."""
        return self.answer is None and self.failures < _MOST_FAILURES

    @property
    def is_lost(self) -> bool:
        """Whether its silence has lasted."""
        return self.failures >= _MOST_FAILURES


@dataclass(frozen=True, slots=True)
class _Told:
    """What the reconcile was told last of a gateway, as far as a status shows it."""

    reading: Reading
    verdict: Verdict
    steps: tuple[tuple[str | None, str | None, str | None], ...]

    @property
    def news(self) -> tuple[object, ...]:
        """All that has to change for the gateway to be judged again."""
        reading = self.reading
        collector = (reading.is_collector_scraped, reading.spans_lost)
        return self.verdict, self.steps, collector, reading.drill


@dataclass(frozen=True, slots=True)
class _Words:
    """What a closer look at a gateway has found."""

    looked_at: float
    targets: dict[str, str] = field(default_factory=dict)
    rules: str = ""


@dataclass(slots=True)
class _Watched:
    """One gateway that is to be monitored."""

    wanted: Wanted
    told: _Told | None = None
    words: _Words | None = None
    drill: DrillReading | None = None
    unproven_since: float | None = None


class Monitoring:
    """The readings of all gateways; ``operator_monitor`` is the operator's own ServiceMonitor."""

    def __init__(
        self,
        *,
        cache: Cache,
        client: PrometheusClient,
        address: str,
        interval_seconds: float,
        operator_monitor: ObjectKey,
        enqueue: Callable[[ObjectKey], None],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        count_error: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._count_error = count_error
        self._client = client
        self._address = address
        self._interval_seconds = interval_seconds
        self._operator_monitor = operator_monitor
        self._enqueue = enqueue
        self._clock = clock
        self._now = now
        self._has_begun = False
        self._objects: list[Manifest] = []
        self._servers: list[Server] = []
        self._states: dict[Server, _State] = {}
        self._watched: dict[ObjectKey, _Watched] = {}

    def read(self, gateway: Gateway, children: Iterable[Manifest]) -> Reading | None:
        """What Prometheus says of a gateway whose children are asked for so; None: not known yet.

        From now on the gateway is queued whenever that changes.
        """
        wanted = build_wanted(gateway, children)
        if wanted is None:
            self.forget(gateway.key)
            return None
        watched = self._watched.get(gateway.key)
        if watched is None or watched.wanted != wanted:
            watched = self._watched[gateway.key] = _Watched(wanted)
        watched.told = self._tell(watched)
        return watched.told.reading if watched.told is not None else None

    def forget(self, key: ObjectKey) -> None:
        """Ask nothing about a gateway any more."""
        self._watched.pop(key, None)

    async def prime(self) -> None:
        """The first round, before any gateway is judged; it takes no longer than a few seconds."""
        try:
            async with asyncio.timeout(_PRIME_SECONDS):
                await self.refresh()
        except TimeoutError:
            _log.warning("Prometheus takes its time, going on without it")

    async def run(self) -> None:
        """Ask again and again."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """One round: ask every server about all gateways, and queue those with news."""
        self._objects = self._cache.all(kinds.PROMETHEUS)
        self._servers = find_servers(self._objects, self._address)[:_MOST_SERVERS]
        self._states = {it: self._states.get(it, _State()) for it in self._servers}
        self._has_begun = True
        for server in self._servers:  # one after the other: kopf would take new tasks for its own
            await self._ask(server)
        await self._look_closer(await self._compare())

    async def _ask(self, server: Server) -> None:
        state = self._states[server]
        try:
            vectors = [await self._query(server, promql) for promql in QUERIES]
            if any(self._is_on(it.wanted.drill) for it in self._watched.values()):
                state.drills = await fetch_drills(self._client, server)
        except PrometheusError as error:
            self._count_error()
            state.failures += 1
            state.error = str(error)
            if server.problem:
                state.failures = _MOST_FAILURES  # waiting cures nothing
            if state.failures == _MOST_FAILURES and not server.problem:
                _log.warning("Prometheus does not answer", server=server.name, error=str(error))
        else:
            if state.is_lost:
                _log.info("Prometheus answers again", server=server.name)
            state.failures, state.error = 0, ""
            state.answer = index(*vectors)

    async def _query(self, server: Server, promql: str) -> Vector:
        if server.problem:
            raise PrometheusError(server.problem)
        return await self._client.query(server.url, promql)

    async def _compare(self) -> list[_Watched]:
        """Queue each gateway that has news; return those that deserve a closer look before."""
        doubtful = []
        for number, watched in enumerate(list(self._watched.values())):
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)  # thousands of gateways, and others have work, too
            if not self._is_current(watched):
                continue
            told = self._tell(watched)
            if told is not None and _is_doubtful(told.reading):
                doubtful.append(watched)
                continue
            if watched.words is not None:  # they are of what is over
                watched.words = None
                told = self._tell(watched)
            self._queue_news(watched, told)
        return doubtful

    def _is_current(self, watched: _Watched) -> bool:
        """Whether the gateway is still there, and asks for the same."""
        return self._watched.get(watched.wanted.key) is watched

    def _queue_news(self, watched: _Watched, told: _Told | None) -> None:
        before, watched.told = watched.told, told
        if told is None:
            return
        if before is None or before.news != told.news:
            self._enqueue(watched.wanted.key)

    async def _look_closer(self, doubtful: list[_Watched]) -> None:
        """Ask for Prometheus' own words about a few, in turns; then queue all that have news."""
        doubtful.sort(key=lambda it: it.words.looked_at if it.words else float("-inf"))
        for watched in doubtful[_CLOSER_LOOKS:]:
            self._queue_news(watched, self._tell(watched))
        for watched in doubtful[:_CLOSER_LOOKS]:
            reading = self._read(watched) or Reading()
            watched.words = await self._try_words(watched.wanted, reading)
            if self._is_current(watched):
                self._queue_news(watched, self._tell(watched))

    async def _try_words(self, wanted: Wanted, reading: Reading) -> _Words:
        server = next((it for it in self._servers if it.name == reading.server), None)
        try:
            if server is not None:
                return await self._fetch_words(server, wanted, reading)
        except PrometheusError as error:
            _log.info("Could not look closer", server=reading.server, error=str(error))
        return _Words(self._clock())

    async def _fetch_words(self, server: Server, wanted: Wanted, reading: Reading) -> _Words:
        targets: dict[str, str] = {}
        errors: dict[str, str] = {}
        if reading.down or reading.silent:
            targets = await self._client.target_errors(server.url, wanted.scrape_pool)
        if not reading.are_rules_loaded:
            errors = await self._client.rule_errors(server.url, wanted.groups)
        return _Words(self._clock(), targets, next(iter(errors.values()), ""))

    def _tell(self, watched: _Watched) -> _Told | None:
        reading = self._read(watched)
        if reading is None:
            return None
        if reading.is_proof:
            watched.unproven_since = None
        elif watched.unproven_since is None:
            watched.unproven_since = self._clock()
        elif self._clock() - watched.unproven_since >= _OVERDUE_SECONDS:
            reading = replace(reading, is_overdue=True)
        reading = replace(reading, drill=self._read_drill(watched))
        verdict = judge_reading(watched.wanted.key, watched.wanted.window.text, reading)
        return _Told(reading, verdict, _step(reading, watched.told))

    def _is_on(self, drill: Drill | None) -> bool:
        """Whether a drill is asked about: from a little before it to a while after it."""
        return (
            drill is not None
            and drill.begins_at - _AROUND_DRILL <= self._now() < drill.ends_at + _AROUND_DRILL
        )

    def _read_drill(self, watched: _Watched) -> DrillReading | None:
        drill, known = watched.wanted.drill, watched.drill
        if drill is None:
            return None
        answers = {server.name: state.drills for server, state in self._states.items()}
        found = read_drill(watched.wanted.key, drill, answers)
        if known is None or is_better(found, known):
            known = found
        watched.drill = replace(known, is_over=self._now() >= drill.ends_at + _AROUND_DRILL)
        return watched.drill

    def _read(self, watched: _Watched) -> Reading | None:
        if not self._has_begun:
            return None
        if not self._servers:
            return Reading()
        readings = [self._read_from(server, watched) for server in self._servers]
        known = [it for it in readings if it is not None]
        if proof := next((it for it in known if it.is_proof), None):
            return proof
        if len(known) < len(readings):
            return None
        faults = self._find_faults(watched.wanted)
        # Of those that could do it, one that answers.
        best = min(known, key=lambda it: (bool(faults.get(it.server)), bool(it.error)))
        if all(faults.values()):
            told = tuple(fault for some in faults.values() for fault in some)
            best = replace(best, faults=told)
        return best

    def _read_from(self, server: Server, watched: _Watched) -> Reading | None:
        state, wanted = self._states[server], watched.wanted
        if state.is_undecided:
            return None
        if state.is_lost or state.answer is None:
            return Reading(server=server.name, error=state.error)
        answer = state.answer
        pods = answer.pods.get(wanted.key, {})
        expected = self._cache.roster.settled(label_key(wanted.key), self._now() - _SETTLED)
        words = watched.words
        targets = words.targets if words else {}
        return Reading(
            server=server.name,
            has_targets=any(pods.values()),
            expected=len(expected),
            silent=tuple(pod for pod in expected if pod not in pods),
            down=tuple((pod, targets.get(pod, "")) for pod in expected if pods.get(pod) is False),
            outdated=find_outdated(wanted, answer, expected),
            rule_error=words.rules if words else "",
            knows_operator=not wanted.needs_operator or wanted.key in answer.operator,
            enforced=server.overwrites_labels_of(self._operator_monitor),
            retention=server.keeps_less_than(wanted.window.days),
            is_collector_scraped=wanted.key in answer.collectors,
            spans_lost=step_losses(
                watched.told.reading.spans_lost if watched.told else (),
                answer.losses.get(wanted.key, {}),
            ),
            slos=read_slos(wanted, answer),
            as_of=answer.at,
        )

    def _find_faults(self, wanted: Wanted) -> dict[str, Sequence[str]]:
        """Why each Prometheus object leaves monitor or rules out, by its name."""
        labels = self._labels_of_namespace(wanted.key.namespace)
        return {
            name_of(prometheus): [
                fault
                for each in (wanted.monitor, wanted.rules)
                for fault in find_faults(prometheus, each, labels)
            ]
            for prometheus in self._objects
        }

    def _labels_of_namespace(self, namespace: str) -> dict[str, str] | None:
        found = self._cache.get(kinds.NAMESPACE, ObjectKey("", namespace))
        return None if found is None else dict(found["metadata"].get("labels") or {})


def _is_doubtful(reading: Reading) -> bool:
    """Whether Prometheus may have words about what is missing."""
    if reading.is_proof or not reading.server or reading.error or reading.faults:
        return False
    return bool(reading.down or reading.silent) or not reading.are_rules_loaded


def _step(
    reading: Reading, told: _Told | None
) -> tuple[tuple[str | None, str | None, str | None], ...]:
    """The numbers as they would be written after what was told last."""
    before = told.steps if told is not None else ()
    return tuple(
        (
            step_budget(was[0], slo.budget_remaining),
            step_burn(was[1], slo.burn_rate),
            step_coverage(was[2], slo.coverage),
        )
        for slo, was in zip(
            reading.slos, before or ((None, None, None),) * len(reading.slos), strict=False
        )
    )
