"""The composition root of ``run``: makes every part, starts it, and ends it in order.

Called by ``__main__`` with settings, clocks and randomness. The order of the start matters:
lease, capabilities, a LIST of everything, and only then watches and workers, so that no
gateway is judged by half a view of the world.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import kopf
import structlog
from prometheus_client import disable_created_metrics, start_http_server

from igw_operator import __version__, conventions, handlers, kinds
from igw_operator.act.apply import Applier
from igw_operator.act.attempts import Attempts
from igw_operator.act.events import EventRecorder
from igw_operator.act.prune import Pruner
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import Manifest, ObjectKey
from igw_operator.control.intake import Intake
from igw_operator.control.lease import Lease, LeaseSettings
from igw_operator.control.reconcile import Reconciler
from igw_operator.control.runtimes import RuntimeReconciler
from igw_operator.control.work_queue import WorkQueue
from igw_operator.control.workers import Workers
from igw_operator.errors import IgwError
from igw_operator.health import Health, Probe, Role
from igw_operator.kinds import Resource
from igw_operator.metrics import Metrics
from igw_operator.plan.inputs import Capabilities
from igw_operator.plan.reference import digest_templates
from igw_operator.settings import Settings
from igw_operator.world.cache import Cache
from igw_operator.world.capabilities import CapabilityWatch
from igw_operator.world.client import ApiClient
from igw_operator.world.connection import Connection, find_connection
from igw_operator.world.freshness import Freshness
from igw_operator.world.monitoring import Monitoring
from igw_operator.world.prometheus import PrometheusClient
from igw_operator.world.resync import Resync
from igw_operator.world.warning_events import WarningEvents
from igw_operator.world.watches import Watches

_API_GONE: Final = "APINotFoundError"
_ANEW_SECONDS: Final = 2.0
_SIGNALS_SECONDS: Final = 0.5
_BEGIN_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 5.0
_END_SECONDS: Final = 15.0
_EXIT_STUCK: Final = 1
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LAG_SECONDS: Final = 0.5
_MOST_LAG_SECONDS: Final = 10.0
_MOST_QUEUE_SECONDS: Final = 600.0
_RESYNC_MARGIN: Final = 3.0
# Too short for people to notice; long enough for the echoes of one write, and for a burst of edits.
_REST_SECONDS: Final = 0.2

_log = structlog.get_logger(__name__)


class WatchesStuckError(IgwError):
    """The watches are gone and cannot be had again; this process has to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a process gets from outside, and a test replaces."""

    environment: Mapping[str, str]
    now: Callable[[], datetime]
    clock: Callable[[], float]
    random: Callable[[], float]


class Operator:
    """All parts of one operator process."""

    def __init__(
        self,
        *,
        settings: Settings,
        connection: Connection,
        api: ApiClient,
        prometheus: PrometheusClient,
        metrics: Metrics,
        health: Health,
        surroundings: Surroundings,
    ) -> None:
        clock, random, now = surroundings.clock, surroundings.random, surroundings.now
        self._settings = settings
        self._connection = connection
        self._health = health
        self._clock = clock
        self._lag_seconds = 0.0
        self.cache = Cache(metrics.set_foreign_fields)
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            clock=clock, random=random, rest_seconds=_REST_SECONDS
        )
        self.intake = Intake(cache=self.cache, queue=self.queue)
        self.capabilities = CapabilityWatch(
            api=api,
            interval_seconds=settings.capabilities_seconds,
            on_change=self._follow_capabilities,
        )
        self.resync = Resync(
            api=api,
            cache=self.cache,
            metrics=metrics,
            interval_seconds=settings.resync_seconds,
            clock=clock,
            random=random,
            on_found=lambda resource, gateways: self.intake.found(
                resource, gateways, spread=settings.resync_seconds / 2
            ),
        )
        self.watches = Watches(
            api=api,
            resync=self.resync,
            serves=self.capabilities.serves,
            on_event=self._take,
            clock=clock,
            random=random,
        )
        self.recorder = EventRecorder(
            api=api, metrics=metrics, instance=_identify(settings), now=now, clock=clock
        )
        self.monitoring = Monitoring(
            cache=self.cache,
            client=prometheus,
            address=settings.defaults.prometheus_url,
            interval_seconds=settings.monitoring_seconds,
            operator_monitor=ObjectKey(settings.namespace, conventions.OPERATOR_NAME),
            enqueue=self.queue.add,
            clock=clock,
            now=now,
            count_error=metrics.prometheus_errors.inc,
        )
        attempts = Attempts(clock=clock)
        statuses = StatusWriter(api=api, remember=self.intake.remember, metrics=metrics)
        template = digest_templates()
        self.workers = Workers(
            queue=self.queue,
            gateways=Reconciler(
                cache=self.cache,
                capabilities=self.capabilities,
                freshness=Freshness(api=api, learn=self._take, clock=clock),
                warnings=WarningEvents(api=api, clock=clock),
                monitoring=self.monitoring,
                applier=Applier(
                    api=api, remember=self.cache.put, attempts=attempts, metrics=metrics
                ),
                pruner=Pruner(
                    api=api,
                    remember=self.cache.put,
                    forget=self.cache.remove,
                    attempts=attempts,
                    metrics=metrics,
                ),
                attempts=attempts,
                statuses=statuses,
                recorder=self.recorder,
                metrics=metrics,
                defaults=settings.defaults,
                template=template,
                now=now,
                clock=clock,
            ),
            runtimes=RuntimeReconciler(
                cache=self.cache,
                statuses=statuses,
                recorder=self.recorder,
                metrics=metrics,
                enqueue=self.queue.add,
                template=template,
                now=now,
            ),
            metrics=metrics,
            clock=clock,
            count=settings.workers,
        )
        self._export(metrics, attempts)
        health.watch_over(self._probes())

    async def run(self, lease: Lease | None) -> None:
        """Work until a signal comes, or something fails for good."""
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(lease.keep(), name="lease")] if lease else []
            await self.capabilities.prime()
            await self.resync.prime()
            await self.monitoring.prime()
            self.intake.enqueue_all()
            _log.info("Listed everything", objects=self.cache.count())
            parts = {
                "workers": self.workers.run,
                "resync": self.resync.run,
                "watches": self.watches.run,
                "capabilities": self.capabilities.run,
                "monitoring": self.monitoring.run,
                "events": self.recorder.run,
                "lag": self._measure_lag,
            }
            background += [group.create_task(run(), name=name) for name, run in parts.items()]
            # kopf takes every task that begins after it for one of its own: at the end it would
            # wait for them and cancel them. So ours begin first, down to the last worker.
            await asyncio.sleep(_BEGIN_SECONDS)
            await self._watch()
            await self.workers.stop(_STOP_SECONDS)
            for task in background:
                task.cancel()

    async def _watch(self) -> None:
        """Watch until SIGTERM or SIGINT.

        An API that is removed while it is watched ends kopf with a 404, if the watch asks again
        before kopf has noticed. It then begins anew, without that API; objects that it lists a
        second time tell `intake` of the gap.
        """
        stop = asyncio.Event()
        while not stop.is_set():
            try:
                await self._run_kopf(stop)
            except Exception as error:
                if type(error).__name__ != _API_GONE:  # the class is not public
                    raise
                _log.warning("Lost an API that was watched, watching anew", error=str(error))
                await asyncio.sleep(_ANEW_SECONDS)
            else:
                stop.set()
        # kopf leaves its watch generators to asyncio, which complains of each that "didn't stop
        # after athrow()" while the loop is closed. Nothing is lost by then.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    async def _run_kopf(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        overdue = loop.create_future()

        def expect_end() -> None:
            self._health.role = Role.STARTING  # anew, unless the process ends
            loop.call_later(_END_SECONDS, _resolve, overdue)

        # kopf takes the signals when it starts, and loses those that come while it fails.
        loop.call_later(_SIGNALS_SECONDS, _take_signals, stop)
        watching = loop.create_task(self._start_kopf(stop, expect_end), name="kopf")
        try:
            done, _ = await asyncio.wait({watching, overdue}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            watching.cancel()
            await asyncio.wait({watching}, timeout=_END_SECONDS)
            raise
        if watching not in done:
            # Of a watch that fails while others are reconnecting, kopf 1.45 never sees the end:
            # no watch and no probe are left, and the process would live on.
            message = f"the watches had ended and kopf had not, {_END_SECONDS:.0f} s later"
            raise WatchesStuckError(message)
        overdue.cancel()
        await watching

    async def _start_kopf(self, stop: asyncio.Event, on_end: Callable[[], None]) -> None:
        await kopf.operator(
            registry=handlers.build_registry(
                connection=self._connection,
                on_event=self._take,
                on_crd=self.capabilities.hint,
                on_start=self._say_active,
                on_end=on_end,
            ),
            settings=handlers.build_settings(),
            standalone=True,
            clusterwide=True,
            # Without one kopf asks for the user's name, and a container's uid may have none.
            identity=_identify(self._settings),  # type: ignore[arg-type]  # its NewType is private
            stop_flag=stop,
        )

    def _say_active(self) -> None:
        self._health.role = Role.ACTIVE

    def _follow_capabilities(self, _: Capabilities) -> None:
        for resource in kinds.WATCHED:
            if resource.optional:
                self.resync.hint(resource)
        self.intake.enqueue_all()

    def _take(self, resource: Resource, event: str | None, manifest: Manifest) -> None:
        self.intake.take(resource, event, manifest, self.resync.hint)

    def _probes(self) -> dict[str, Probe]:
        most_resync = self._settings.resync_seconds * _RESYNC_MARGIN
        return {
            "queue_seconds": Probe(read=self.queue.oldest_seconds, most=_MOST_QUEUE_SECONDS),
            "resync_seconds": Probe(read=self.resync.oldest_seconds, most=most_resync),
            "lag_seconds": Probe(read=lambda: self._lag_seconds, most=_MOST_LAG_SECONDS),
        }

    async def _measure_lag(self) -> None:
        """Keep the lag of the event loop, fading, so that a short hiccup is still seen."""
        while True:
            before = self._clock()
            await asyncio.sleep(_LAG_SECONDS)
            lag = self._clock() - before - _LAG_SECONDS
            self._lag_seconds = max(lag, self._lag_seconds * 0.9, 0.0)

    def _export(self, metrics: Metrics, attempts: Attempts) -> None:
        """Have what is known anyway read at each scrape.

        By the thread that answers it, while the loop works: whoever is asked looks at a copy.
        """
        metrics.active.set_function(lambda: float(self._health.role is Role.ACTIVE))
        metrics.queue_depth.set_function(self.queue.depth)
        metrics.queue_oldest.set_function(self.queue.oldest_seconds)
        metrics.queue_busy.set_function(self.queue.busy)
        metrics.queue_slow.set_function(self.workers.slow)
        metrics.held_children.set_function(attempts.held)
        metrics.contested_children.set_function(attempts.contested)
        metrics.resync_age.set_function(self.resync.oldest_seconds)
        metrics.cached_objects.set_function(self.cache.count)
        metrics.loop_lag.set_function(lambda: self._lag_seconds)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _take_signals(stop: asyncio.Event) -> None:
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def run_operator(
    settings: Settings, kubeconfig: str | None, surroundings: Surroundings
) -> None:
    """Run until a signal comes.

    Raises:
        ConnectionUnknownError: there is no cluster to connect to.
        LeaseLostError: another operator is active now.
    """
    # Process 1 of a container ignores signals that it does not handle: one that waits for the
    # lease, or for its first LISTs, would have to be killed. Later kopf takes them.
    task = asyncio.current_task()
    if task is not None:
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await _run(settings, kubeconfig, surroundings)
    except asyncio.CancelledError:
        _log.info("Stopped before it was at work")
    except WatchesStuckError as error:
        # The lease is given back by now. What is left of kopf would keep `asyncio.run` waiting.
        _log.error("Ending the process", error=str(error))
        logging.shutdown()
        os._exit(_EXIT_STUCK)


async def _run(settings: Settings, kubeconfig: str | None, surroundings: Surroundings) -> None:
    connection = await find_connection(kubeconfig, surroundings.environment, surroundings.clock)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=metrics.registry)
    agent = f"igw-operator/{__version__}"
    api = ApiClient(
        connection,
        user_agent=agent,
        timeout_seconds=settings.request_timeout_seconds,
        count_error=lambda method, status: metrics.api_errors.labels(method, str(status)).inc(),
    )
    prometheus = PrometheusClient(user_agent=agent)
    health = Health(settings.health_port)
    async with api, prometheus, _serving(health):
        if settings.unknown:
            _log.warning("Ignored unknown variables", names=list(settings.unknown))
        _log.info("Started", version=__version__, server=connection.endpoint.server)
        operator = Operator(
            settings=settings,
            connection=connection,
            api=api,
            prometheus=prometheus,
            metrics=metrics,
            health=health,
            surroundings=surroundings,
        )
        lease = _build_lease(settings, api, surroundings) if settings.lease else None
        if lease is not None:
            health.role = Role.STANDBY
            await lease.acquire()
            health.role = Role.STARTING
        try:
            await operator.run(lease)
        except* Exception as group:
            raise _first(group) from group
        finally:
            if lease is not None:
                await lease.release()


@asynccontextmanager
async def _serving(health: Health) -> AsyncIterator[None]:
    await health.start()
    try:
        yield
    finally:
        await health.stop()


def _build_lease(settings: Settings, api: ApiClient, surroundings: Surroundings) -> Lease:
    return Lease(
        api=api,
        settings=LeaseSettings(namespace=settings.namespace, identity=_identify(settings)),
        clock=surroundings.clock,
        now=surroundings.now,
    )


def _identify(settings: Settings) -> str:
    return settings.identity or f"{socket.gethostname()}-{os.getpid()}"


def _first(error: BaseException) -> BaseException:
    """The first real error in nested groups: that is what people need to read."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
