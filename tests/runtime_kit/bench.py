"""The whole serving path in one process, with real threads but without sockets or OpenVINO."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from igw_runtime.engines.protocol import Batch, Session
from igw_runtime.models.catalog import ModelCatalog
from igw_runtime.models.decoding import ImageDecoder
from igw_runtime.models.preprocessing import Preprocessor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.classifier import Classifier
from igw_runtime.serving.jobs import JobQueue
from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.serving.workers import Lane, WorkerPool
from igw_runtime.settings import MetricsSettings, ServingSettings, TracingSettings
from igw_runtime.telemetry.metrics import Metrics
from igw_runtime.telemetry.tracing import LiveSampler, get_tracer
from igw_runtime.web.admission import Admission, WorkerLoad
from igw_runtime.web.app import Services, build_app
from igw_runtime.web.recording import Recorder
from igw_runtime.web.submission import Desk
from runtime_kit.asgi import Client
from runtime_kit.colours import PREPROCESSING, SERVED, ColourSession


class GatedSession:
    """The colour classifier, holding every inference until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def infer(self, batch: Batch) -> Batch:
        self.batches.append(batch.shape[0])
        self.entered.set()
        self.gate.wait(5)
        return ColourSession().infer(batch)


@dataclass(slots=True, kw_only=True)
class Bench:
    """What a test may look at."""

    client: Client
    services: Services
    metrics: Metrics
    lifecycle: Lifecycle
    admission: Admission
    queue: JobQueue
    lanes: Sequence[Lane]
    pool: WorkerPool
    spans: InMemorySpanExporter
    slow_seconds: float

    def sample(self, name: str, **labels: str) -> float:
        """Return one sample's value; -1 if there is none."""
        value = self.metrics.registry.get_sample_value(name, labels)
        return -1.0 if value is None else value

    def count_stage(self, stage: str, model: str = "colours", version: str = "1") -> float:
        """Return how many images went through a stage of a model; nobody's is that of reading."""
        name = "igw_runtime_stage_duration_seconds_count"
        return self.sample(name, model=model, version=version, stage=stage)

    def span_tree(self) -> Any:
        """Return the finished spans as nested (name, children), in order of their start."""
        spans = sorted(self.spans.get_finished_spans(), key=lambda span: span.start_time or 0)
        known = {span.context.span_id for span in spans if span.context}
        roots = [s for s in spans if s.parent is None or s.parent.span_id not in known]
        return [_branch(root, spans) for root in roots]


def _branch(span: ReadableSpan, spans: list[ReadableSpan]) -> Any:
    assert span.context
    children = [s for s in spans if s.parent and s.parent.span_id == span.context.span_id]
    return (span.name, [_branch(child, spans) for child in children])


@contextmanager
def a_bench(
    *,
    session: Session | None = None,
    workers: int = 1,
    state: State = State.READY,
    slow_seconds: float = 0.3,
    objective_seconds: float | None = 0.3,
    sampling_percent: float = 100.0,
    check_token: Callable[[str | None], None] | None = None,
    others: Mapping[ServedModel, Session] | None = None,
    **serving: Any,
) -> Iterator[Bench]:
    """Build the serving path around a worker; `serving` overrides settings by field name.

    `others` are served beside the colour classifier.
    """
    settings = ServingSettings().model_copy(update=serving)
    metrics = Metrics(MetricsSettings())
    default = replace(SERVED, max_batch=int(settings.max_batch))
    models = {default: session or ColourSession(), **(others or {})}
    catalog = ModelCatalog([model.name for model in models])
    catalog.open(list(models))
    spans = InMemorySpanExporter()
    tracer = get_tracer(_provider(spans, sampling_percent))
    lifecycle = Lifecycle(metrics)
    lifecycle.advance(state)
    queue = JobQueue(time.monotonic, metrics.abandoned.inc)
    lanes: list[Lane] = []
    for model, engine in models.items():
        metrics.models.show(model)
        classifier = Classifier(
            model=model,
            decoder=ImageDecoder(settings.max_pixels),
            preprocessor=Preprocessor(PREPROCESSING),
            metrics=metrics,
            tracer=tracer,
            max_body_bytes=settings.max_body_bytes,
        )
        lanes.append(Lane(classifier=classifier, sessions=[engine] * workers))
    pool = WorkerPool(lanes=lanes, queue=queue, metrics=metrics, clock=time.monotonic)
    admission = Admission(
        settings, lifecycle, lambda: WorkerLoad(workers=1, mean_seconds=pool.mean_seconds)
    )
    metrics.watch_queue(lambda: admission.in_system)
    desk = Desk(
        settings=settings, admission=admission, queue=queue, metrics=metrics, clock=time.monotonic
    )
    services = Services(
        desk=desk,
        metrics=metrics,
        recorder=Recorder(
            metrics=metrics,
            tracer=tracer,
            slow_seconds=lambda: slow_seconds,
            objective_seconds=lambda: objective_seconds,
            is_impatience=admission.is_impatience,
            clock=desk.clock,
        ),
        lifecycle=lifecycle,
        catalog=catalog,
        longest_busy_seconds=pool.longest_busy_seconds,
        check_token=check_token,
    )
    pool.start()
    yield Bench(
        client=Client(build_app(services)),
        services=services,
        metrics=metrics,
        lifecycle=lifecycle,
        admission=admission,
        queue=queue,
        lanes=lanes,
        pool=pool,
        spans=spans,
        slow_seconds=slow_seconds,
    )
    queue.close()
    pool.join(2)


def _provider(spans: InMemorySpanExporter, percent: float) -> TracerProvider:
    provider = TracerProvider(
        sampler=LiveSampler(TracingSettings(samplingPercent=percent)), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider
