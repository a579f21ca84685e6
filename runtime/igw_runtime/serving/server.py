"""The life of the process: listen, load, serve, drain, leave.

    sockets open -> probes answer -> models load in a thread -> ready -> SIGTERM
      -> readiness off, still listening, for drainSeconds -> stop accepting -> finish -> flush

No server library has the middle phase; it is what lets a rolling restart lose nothing, because
endpoints are withdrawn from load balancers some seconds after a pod is told to go.
"""

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

import structlog
import uvicorn
from prometheus_client import start_http_server

from igw_runtime.errors import (
    InvalidSettingsError,
    ModelLoadFailedError,
    StartupError,
)
from igw_runtime.models.catalog import ModelCatalog
from igw_runtime.serving.classifier import Classifier
from igw_runtime.serving.connections import (
    KEEP_ALIVE_SECONDS,
    BoundedProtocol,
    Crowd,
    choose_limits,
    choose_most,
)
from igw_runtime.serving.cpu import read_cpu_budget
from igw_runtime.serving.jobs import JobQueue
from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.serving.listening import choose_host, join_address, open_listener
from igw_runtime.serving.loading import LoadedModel, load_models
from igw_runtime.serving.protection import Protection
from igw_runtime.serving.workers import Lane, WorkerPool
from igw_runtime.settings import Environment, LiveSettings, LoadedSettings
from igw_runtime.telemetry.live import LiveWatcher
from igw_runtime.telemetry.logs import ServerLog
from igw_runtime.telemetry.metrics import GRPC_INFER_ENDPOINT, Metrics
from igw_runtime.telemetry.tracing import Tracing, build_tracing
from igw_runtime.web.admission import Admission, WorkerLoad
from igw_runtime.web.app import Services, build_app, build_open_inference
from igw_runtime.web.recording import Recorder
from igw_runtime.web.submission import Desk

SETTLE_SECONDS: Final = 0.25
_FINISH_MARGIN_SECONDS: Final = 5
_log = structlog.get_logger()


class _HttpServer(uvicorn.Server):
    """uvicorn, minus its signal handlers: ours come first and know about draining."""

    def __init__(self, config: uvicorn.Config, on_closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_closing = on_closing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, and serve who had come before anybody is told that it is over."""
        for server in self.servers:
            server.close()
        # Every connection without a request is closed next, and those of the listener's last
        # moment may not have sent theirs yet.
        await asyncio.sleep(SETTLE_SECONDS)
        self._on_closing()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@dataclass(slots=True)
class _Running:
    """What exists only once the models are loaded."""

    pool: WorkerPool | None = None
    failure: StartupError | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


class ModelServer:
    """One process's server; `run` is its whole life."""

    def __init__(self, loaded: LoadedSettings, environment: Environment, log: ServerLog) -> None:
        self._settings = loaded.settings
        self._environment = environment
        self._host = choose_host(environment.host)
        self._log = log
        self._live = loaded.settings.live
        self._budget = read_cpu_budget()
        self._metrics = Metrics(self._live.metrics)
        self._metrics.register_process(self._budget)
        self._metrics.watch_logs(log.budget.count_drops)
        self._metrics.show_live_hash(loaded.live_hash)
        self._tracing: Tracing = build_tracing(self._settings, environment)
        self._metrics.watch_spans(self._tracing.losses.count)
        self._protection = Protection(self._settings, self._metrics)
        self._lifecycle = Lifecycle(self._metrics)
        self._queue = JobQueue(time.monotonic, self._metrics.abandoned.inc)
        self._catalog = ModelCatalog([model.name for model in self._settings.models])
        self._running = _Running()
        self._stop = asyncio.Event()
        self._watcher = LiveWatcher(environment.config_path, loaded, self._apply_live)

    async def run(self) -> StartupError | None:
        """Serve until told to stop; return what prevented it, if something did."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        services = self._build_services()
        listener = open_listener(self._host, self._settings.server.port)
        self._start_metrics_server()
        stop_grpc = await self._start_grpc_server(services)
        server = self._build_http_server(services)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        self._watcher.start()
        self._protection.start(loop)
        threading.Thread(target=self._load, args=(loop,), name="load", daemon=True).start()
        await self._wait_for(self._running.done)
        if self._running.failure is None:
            await self._wait_for(self._protection.ready)
        if not self._stop.is_set() and self._running.failure is None:
            self._lifecycle.advance(State.READY)
            _log.info("server_ready", port=self._settings.server.port)
            await self._stop.wait()
            await self._drain()
        server.should_exit = True
        await asyncio.gather(serving, stop_grpc())
        await self._finish()
        return self._running.failure

    async def _wait_for(self, event: asyncio.Event) -> None:
        """Wait for the event, or for the signal to stop, whichever is first."""
        waits = [asyncio.create_task(each.wait()) for each in (event, self._stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _drain(self) -> None:
        seconds = self._settings.serving.drain_seconds
        self._lifecycle.advance(State.DRAINING)
        _log.info("server_draining", seconds=seconds)
        await asyncio.sleep(seconds)

    async def _finish(self) -> None:
        self._watcher.stop()
        self._protection.stop()
        self._queue.close()
        if self._running.pool is not None:
            await asyncio.to_thread(self._running.pool.join, 1.0)
        await asyncio.to_thread(self._tracing.shut_down)
        _log.info("server_stopped")

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load all models and start the workers; runs in a thread of its own."""
        try:
            loaded = load_models(
                self._settings.models,
                self._settings.serving,
                self._environment.models_root,
                self._budget,
            )
            self._start_workers(loaded)
            _freeze_start_up()
        except StartupError as error:
            self._running.failure = error
        except Exception as error:  # noqa: BLE001  start-up boundary: else the pod would hang
            _log.error("model_load_crashed", exc_info=error)
            message = f"{type(error).__name__}: {error}"
            self._running.failure = ModelLoadFailedError(message)
        loop.call_soon_threadsafe(self._running.done.set)

    def _start_workers(self, models: Sequence[LoadedModel]) -> None:
        for each in models:
            self._metrics.models.show(each.served, each.sweep.costs if each.sweep else None)
        pool = WorkerPool(
            lanes=[self._build_lane(each) for each in models],
            queue=self._queue,
            metrics=self._metrics,
            clock=time.monotonic,
        )
        pool.start()
        self._running.pool = pool
        self._catalog.open([each.served for each in models])

    def _build_lane(self, model: LoadedModel) -> Lane:
        classifier = Classifier(
            model=model.served,
            decoder=model.decoder,
            preprocessor=model.preprocessor,
            metrics=self._metrics,
            tracer=self._tracing.tracer,
            max_body_bytes=self._settings.serving.max_body_bytes,
        )
        return Lane(classifier=classifier, sessions=model.sessions)

    def _apply_live(self, live: LiveSettings, live_hash: str) -> None:
        """Take over a new version of the live settings, all of it."""
        self._live = live
        self._log.apply(live.logging)
        self._tracing.sampler.apply(live.tracing)
        self._metrics.apply(live.metrics)
        self._metrics.show_live_hash(live_hash)

    def _start_metrics_server(self) -> None:
        port = self._settings.server.metrics_port
        try:
            start_http_server(port, addr=self._host, registry=self._metrics.registry)
        except OSError as error:
            message = f"server.metricsPort: cannot listen on {port}: {error.strerror}"
            raise InvalidSettingsError(message) from error

    async def _start_grpc_server(self, services: Services) -> Callable[[], Awaitable[None]]:
        """Listen for gRPC where that is asked for; return what ends it."""
        port = self._settings.server.grpc_port
        if not port:
            return partial(asyncio.sleep, 0)
        # Its C core writes lines to stderr that are no JSON; what it says is in the errors, too.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from igw_runtime.web.oip.grpc_server import GrpcServer  # noqa: PLC0415  0.1 s, 8 MB
        from igw_runtime.web.oip.grpc_service import GrpcService  # noqa: PLC0415

        self._metrics.prepare_endpoint(GRPC_INFER_ENDPOINT)
        service = GrpcService(services, build_open_inference(services))
        server = GrpcServer(service, self._settings.serving)
        await server.start(join_address(self._host, port), self._protection.certificate)
        return partial(server.stop, self._settings.serving.timeout_seconds + _FINISH_MARGIN_SECONDS)

    def _build_http_server(self, services: Services) -> _HttpServer:
        serving = self._settings.serving
        certificate = self._protection.certificate
        crowd = Crowd(choose_most(), choose_limits(serving), self._metrics.count_cut_connection)
        self._metrics.watch_connections(lambda: len(crowd))
        config = uvicorn.Config(
            build_app(services),
            # uvicorn only ever calls it, to make the protocol of one connection.
            http=cast("type[asyncio.Protocol]", partial(BoundedProtocol, crowd=crowd)),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
            timeout_keep_alive=int(KEEP_ALIVE_SECONDS),
            timeout_graceful_shutdown=int(serving.timeout_seconds) + _FINISH_MARGIN_SECONDS,
        )
        return _HttpServer(config, partial(self._lifecycle.advance, State.STOPPING))

    def _build_services(self) -> Services:
        admission = Admission(self._settings.serving, self._lifecycle, self._read_load)
        self._metrics.watch_queue(lambda: admission.in_system)
        desk = Desk(
            settings=self._settings.serving,
            admission=admission,
            queue=self._queue,
            metrics=self._metrics,
            clock=time.monotonic,
        )
        return Services(
            desk=desk,
            metrics=self._metrics,
            recorder=Recorder(
                metrics=self._metrics,
                tracer=self._tracing.tracer,
                slow_seconds=lambda: self._live.tracing.slow_threshold_seconds,
                # The threshold of the latency objective, for which the bucket is wanted.
                objective_seconds=lambda: min(
                    self._live.metrics.latency_buckets_seconds, default=None
                ),
                is_impatience=admission.is_impatience,
            ),
            lifecycle=self._lifecycle,
            catalog=self._catalog,
            longest_busy_seconds=self._read_longest_busy,
            check_token=self._protection.check_token,
        )

    def _read_load(self) -> WorkerLoad:
        pool = self._running.pool
        if pool is None:
            return WorkerLoad(workers=1, mean_seconds=0.0)
        return WorkerLoad(workers=pool.size, mean_seconds=pool.mean_seconds)

    def _read_longest_busy(self) -> float:
        pool = self._running.pool
        return pool.longest_busy_seconds() if pool is not None else 0.0


def _freeze_start_up() -> None:
    """Take what start-up made out of the garbage collector's rounds: it stays for good.

    A full round would walk all of it, for tens of milliseconds in which no request gets anywhere.
    """
    gc.collect()
    gc.freeze()
