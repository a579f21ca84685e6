"""What a worker does with a batch of jobs: read, decode, infer, name, render.

Everything up to the forward pass is done for each job alone, so a bad image fails alone. Spans
and stage times are recorded here, inside each job's own context, which carries its request id
and its trace into the thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import structlog
from opentelemetry.trace import Span, StatusCode, Tracer, get_current_span, set_span_in_context

from igw_runtime.engines.protocol import Batch, Session
from igw_runtime.errors import EngineAnswerError, RequestError
from igw_runtime.models.decoding import ImageDecoder
from igw_runtime.models.labels import Labels
from igw_runtime.models.preprocessing import Preprocessor, Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.jobs import Classification, ImagePayload, Job
from igw_runtime.serving.payloads import extract_image
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import Metrics

TOP: Final = 5
T = TypeVar("T")
_log = structlog.get_logger()


class Classifier:
    """Processes jobs of one model; stateless, shared by all workers."""

    def __init__(
        self,
        *,
        model: ServedModel,
        decoder: ImageDecoder,
        preprocessor: Preprocessor,
        metrics: Metrics,
        tracer: Tracer,
        max_body_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self._decoder = decoder
        self._preprocessor = preprocessor
        self._meter = metrics.models.meter(model)
        self._tracer = tracer
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    def prepare(self, job: Job[T]) -> Tensor:
        """Return the job's input tensor; raises `RequestError` for bad input."""
        waited = self._clock() - job.enqueued_at
        self._meter.observe_stage("queue", waited)
        get_current_span().set_attribute(names.QUEUE_SECONDS, waited)
        if not isinstance(job.payload, ImagePayload):
            return job.payload
        with self._stage(names.SPAN_VALIDATE_INPUT, "validate") as span:
            content = extract_image(job.payload, self._max_body_bytes)
            opened = self._decoder.open(content)
            span.set_attribute(names.IMAGE_BYTES, len(content))
            span.set_attribute(names.IMAGE_FORMAT, opened.format)
            span.set_attribute(names.IMAGE_WIDTH, opened.width)
            span.set_attribute(names.IMAGE_HEIGHT, opened.height)
        with self._stage(names.SPAN_PREPROCESS_IMAGE, "preprocess"):
            return self._preprocessor(self._decoder.decode(opened))

    def infer(self, session: Session, tensors: list[Tensor]) -> tuple[Batch, "Timing"]:
        """Run one forward pass for all tensors; who pairs its rows with jobs can rely on them."""
        batch = _stack(tensors)
        started, started_ns = self._clock(), time.time_ns()
        scores = session.infer(batch)
        if scores.shape[:1] != (len(tensors),):
            message = f"the engine answered {len(tensors)} images with scores of {scores.shape}"
            raise EngineAnswerError(message)
        timing = Timing(started_ns=started_ns, seconds=self._clock() - started, size=len(tensors))
        self._meter.count_inference(timing.size, timing.seconds)
        return scores, timing

    def finish(self, job: Job[T], scores: Tensor, timing: "Timing") -> T:
        """Name the best classes, record them, and render the answer."""
        self._record_inference(timing)
        self._meter.observe_stage("infer", timing.seconds)
        with self._stage(names.SPAN_FORMAT_RESPONSE, "format"):
            result = rank(scores, self.model.labels, probabilities=self.model.probabilities)
            answer = job.render(result)
        _, label, confidence = result.top[0]
        self._meter.count_prediction(label, confidence)
        root = get_current_span()
        root.set_attribute(names.PREDICTION, label)
        root.set_attribute(names.CONFIDENCE, confidence)
        _log.info(
            names.EVENT_PREDICTION_COMPLETED,
            model=self.model.name,
            prediction=label,
            confidence=round(confidence, 6),
            duration_ms=round(timing.seconds * 1000, 3),
        )
        return answer

    @contextmanager
    def _stage(self, span_name: str, stage: str) -> Iterator[Span]:
        started = self._clock()
        with self._start_span(span_name) as span:
            try:
                yield span
            except RequestError as error:
                span.set_attribute(names.ERROR_TYPE, error.slug)
                span.set_status(StatusCode.ERROR, str(error))
                raise
        self._meter.observe_stage(stage, self._clock() - started)

    def _start_span(self, name: str) -> AbstractContextManager[Span]:
        """Start a span within the request's; one that nobody keeps would cost nearly as much."""
        current = get_current_span()
        if not current.is_recording():
            return nullcontext(current)
        return self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        )

    def _record_inference(self, timing: "Timing") -> None:
        """Write the spans of a forward pass that this job may have shared with others."""
        if not get_current_span().is_recording():
            return
        ended_ns = timing.started_ns + int(timing.seconds * 1e9)
        outer = self._tracer.start_span(
            names.SPAN_MODEL_INFERENCE,
            start_time=timing.started_ns,
            attributes={
                names.MODEL_NAME: self.model.name,
                names.MODEL_VERSION: self.model.version,
                names.BATCH_SIZE: timing.size,
            },
        )
        inside = set_span_in_context(outer)
        load = self._tracer.start_span(
            names.SPAN_LOAD_MODEL,
            context=inside,
            start_time=timing.started_ns,
            attributes={names.MODEL_CACHED: True},
        )
        load.end(timing.started_ns)
        forward = self._tracer.start_span(
            names.SPAN_FORWARD_PASS, context=inside, start_time=timing.started_ns
        )
        forward.end(ended_ns)
        outer.end(ended_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a forward pass ran, how long it took, and for how many images."""

    started_ns: int
    seconds: float
    size: int


def _stack(tensors: Sequence[Tensor]) -> Batch:
    """Make a batch; a picture alone is one as it lies, unless it lies in a request's body."""
    if len(tensors) == 1 and tensors[0].flags.carray:
        return tensors[0][None]
    return np.stack(tensors)


def rank(scores: Tensor, labels: Labels, *, probabilities: bool) -> Classification:
    """Turn one row of scores into probabilities and its best classes."""
    values = scores if probabilities else softmax(scores)
    best = np.argsort(values)[::-1][:TOP]
    top = tuple((int(index), labels[int(index)], float(values[index])) for index in best)
    return Classification(scores=values, top=top)


def softmax(scores: Tensor) -> Tensor:
    """Return probabilities, computed so that large scores do not overflow."""
    shifted = np.exp(scores - scores.max())
    result: Tensor = (shifted / shifted.sum()).astype(np.float32)
    return result
