"""What every request leaves behind, whichever protocol it came in: ids, a span, metrics, two logs.

The HTTP middleware and the gRPC service wrap each request in `Recorder.record`; what they know of
it goes in as an `Arrival`, and what became of it is read from the `Exchange`.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from opentelemetry import context as otel_context
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from igw_runtime.errors import (
    REJECTION_SLUGS,
    ClientGoneError,
    DeadlineExceededError,
    DeadlineUnreachableError,
    RequestError,
)
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import INFERENCE_ENDPOINTS, Metrics
from igw_runtime.web.exchange import Exchange

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What is known of a request before anything was done for it.

    `method` and `span_name` come from closed sets. A quiet request is a probe: it is counted, but
    neither traced nor logged above debug.
    """

    method: str
    path: str
    span_name: str
    headers: Mapping[str, str]
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    quiet: bool = False


class Recorder:
    """Observes requests; one for the process."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        tracer: Tracer,
        slow_seconds: Callable[[], float],
        objective_seconds: Callable[[], float | None],
        is_impatience: Callable[[Deadline, float | None], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._slow_seconds = slow_seconds
        self._objective_seconds = objective_seconds
        self._is_impatience = is_impatience
        self._clock = clock
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def record(self, arrival: Arrival) -> Iterator[Exchange]:
        """Watch one request; who handles it fills in the exchange."""
        with self._server_span(arrival) as span:
            exchange = Exchange(
                request_id=choose_request_id(arrival.headers.get("x-request-id")),
                trace_id=format_trace_id(span.get_span_context().trace_id),
                started=self._clock(),
            )
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
            log = _log.debug if arrival.quiet else _log.info
            log(names.EVENT_REQUEST_RECEIVED, method=arrival.method, path=arrival.path[:256])
            try:
                yield exchange
            finally:
                self._finish(arrival, exchange, span, log)

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        """Note why a request is not answered."""
        exchange.error_slug = error.slug
        missed = isinstance(error, DeadlineExceededError | DeadlineUnreachableError)
        if missed and exchange.deadline is not None:
            promised = self._objective_seconds()
            exchange.impatient = self._is_impatience(exchange.deadline, promised)
        if error.slug in REJECTION_SLUGS:
            self._metrics.rejections.labels(error.slug).inc()

    @contextmanager
    def _server_span(self, arrival: Arrival) -> Iterator[Span]:
        """Start the root span of a traced request; probes get none."""
        if arrival.quiet:
            yield INVALID_SPAN
            return
        parent = self._propagator.extract(dict(arrival.headers), context=otel_context.Context())
        span = self._tracer.start_span(
            arrival.span_name,
            context=parent,
            kind=SpanKind.SERVER,
            attributes=arrival.attributes,
        )
        token = otel_context.attach(set_span_in_context(span))
        try:
            yield span
        finally:
            otel_context.detach(token)
            span.end()

    def _finish(
        self, arrival: Arrival, exchange: Exchange, span: Span, log: Callable[..., Any]
    ) -> None:
        seconds = self._clock() - exchange.started
        # No status means that the handler was cancelled: the server gave up on the request.
        status = exchange.status or 500
        # As if the client had hung up instead of saying beforehand when it would.
        counted = ClientGoneError.status if exchange.impatient else status
        labels = (arrival.method, exchange.endpoint, f"{counted // 100}xx")
        slow = seconds > self._slow_seconds()
        failed = counted >= 500  # noqa: PLR2004
        self._metrics.requests.labels(*labels).inc()
        # Only what tail sampling keeps gets an exemplar: a link to a dropped trace is worse.
        worth_a_link = (slow or failed) and span.get_span_context().trace_flags.sampled
        exemplar = {"trace_id": exchange.trace_id} if worth_a_link else None
        self._metrics.request_seconds.observe(seconds, *labels, exemplar=exemplar)
        if exchange.model is not None:
            self._metrics.models.meter(exchange.model).count_request(labels[2], seconds)
        _finish_span(span, exchange, slow=slow, failed=failed)
        objective = self._objective_seconds()
        # As the latency objective counts: answered predictions only, and its bound is within it.
        if objective is not None and _is_counted(exchange.endpoint, status):
            span.set_attribute(names.OVER_OBJECTIVE, seconds > objective)
        fields: MutableMapping[str, Any] = {
            "method": arrival.method,
            "endpoint": exchange.endpoint,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
        }
        if exchange.error_slug:
            fields["error"] = exchange.error_slug
        if exchange.impatient:
            fields["counted_as"] = counted
        log(names.EVENT_REQUEST_COMPLETED, **fields)


def choose_request_id(header: str | None) -> str:
    """Return the client's id if it is short and harmless, else a new one."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header
    return str(uuid.uuid4())


def _is_counted(endpoint: str, status: int) -> bool:
    return endpoint in INFERENCE_ENDPOINTS and status // 100 == 2  # noqa: PLR2004


def _finish_span(span: Span, exchange: Exchange, *, slow: bool, failed: bool) -> None:
    if not span.is_recording():
        return
    if exchange.span_name:
        span.update_name(exchange.span_name)
    span.set_attributes(exchange.span_attributes)
    span.set_attribute(names.REQUEST_ID, exchange.request_id)
    if slow:
        span.set_attribute(names.SLOW, value=True)
    if exchange.error_slug:
        span.set_attribute(names.ERROR_TYPE, exchange.error_slug)
    if failed:  # by convention a client's error is not the server's
        span.set_status(StatusCode.ERROR)
