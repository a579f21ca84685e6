"""The Open Inference Protocol over gRPC: the same answers as over HTTP, by the same path.

`ModelInfer` is registered as taking a stream, which on the wire is the same as one message:
that is how a request is admitted before its message is read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from igw_runtime import __version__
from igw_runtime.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
    DeadlineExceededError,
    InternalError,
    NoBodyError,
    RequestError,
)
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.serving.lifecycle import State
from igw_runtime.telemetry import names
from igw_runtime.telemetry.metrics import GRPC_SERVICE
from igw_runtime.web.app import Services
from igw_runtime.web.exchange import Exchange
from igw_runtime.web.health import is_stuck
from igw_runtime.web.oip import messages
from igw_runtime.web.oip import open_inference_pb2 as pb
from igw_runtime.web.oip.inference import InferRequest
from igw_runtime.web.oip.rest import EXTENSIONS, SERVER_NAME, OpenInference
from igw_runtime.web.recording import Arrival
from igw_runtime.web.submission import COPY_EFFORT, keep

# By the statuses that `errors` has; what they have in common with HTTP's meaning is kept.
CODES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_QUIET: Final = frozenset({"ServerLive", "ServerReady", "ModelReady"})
Context = grpc.aio.ServicerContext[Any, Any]
Ask = Callable[[Any], Awaitable[Message]]
R = TypeVar("R", bound=Message)
_log = structlog.get_logger()


class GrpcService:
    """The methods of `inference.GRPCInferenceService`."""

    def __init__(self, services: Services, oip: OpenInference) -> None:
        self._services = services
        self._desk = services.desk
        self._oip = oip

    def build_handler(self) -> grpc.GenericRpcHandler:
        """Return what a gRPC server needs to serve the methods."""
        questions: dict[type[Message], Ask] = {
            pb.ServerLiveRequest: self._server_live,
            pb.ServerReadyRequest: self._server_ready,
            pb.ModelReadyRequest: self._model_ready,
            pb.ServerMetadataRequest: self._server_metadata,
            pb.ModelMetadataRequest: self._model_metadata,
            pb.RepositoryIndexRequest: self._repository_index,
            pb.ModelStatisticsRequest: self._model_statistics,
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            kind.DESCRIPTOR.name.removesuffix("Request"): grpc.unary_unary_rpc_method_handler(
                self._build_question(kind, ask)
            )
            for kind, ask in questions.items()
        }
        handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self._infer)
        return grpc.method_handlers_generic_handler(GRPC_SERVICE, handlers)

    def _build_question(
        self, kind: type[Message], ask: Ask
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        method = kind.DESCRIPTOR.name.removesuffix("Request")

        async def handle(body: bytes, context: Context) -> bytes:
            async def answer(_: Exchange) -> bytes:
                return (await ask(messages.parse_message(kind, body))).SerializeToString()

            return await self._watch(method, context, answer)

        return handle

    async def _infer(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        async def answer(exchange: Exchange) -> bytes:
            return await self._answer_infer(requests, context, exchange)

        return await self._watch("ModelInfer", context, answer)

    async def _answer_infer(
        self, requests: AsyncIterator[bytes], context: Context, exchange: Exchange
    ) -> bytes:
        deadline = self._desk.choose_deadline(
            _read_metadata(context).get("x-request-timeout-ms"), exchange.started
        )
        remaining = context.time_remaining()
        if remaining is not None:
            deadline = deadline.earlier(self._desk.clock() + remaining)
        exchange.deadline = deadline
        admission = self._desk.admission
        # gRPC tells a message's size only with the message. A burst would be refused if each one
        # counted as the largest.
        ticket = admission.admit(admission.fair_share, deadline, self._desk.clock())
        with ticket:
            model, request = await self._read(requests, exchange, deadline)
            ticket.hold(len(request.payloads), request.size_bytes)
            exchange.deadline = deadline = request.tighten(deadline, exchange.started)
            rows = await self._desk.classify(model, request.payloads, keep, deadline, None)
        return messages.build_answer(request, rows, model).SerializeToString()

    async def _read(
        self, requests: AsyncIterator[bytes], exchange: Exchange, deadline: Deadline
    ) -> tuple[ServedModel, InferRequest]:
        """Read and parse the one message; it is not kept."""
        settings, started = self._desk.settings, self._desk.clock()
        try:
            async with asyncio.timeout(settings.body_timeout_seconds):
                body = await anext(requests, b"")
        except TimeoutError as error:
            message = f"the message did not arrive within {settings.body_timeout_seconds:g} s"
            raise BodyTimeoutError(message) from error
        if not body:
            message = "the request has no message"
            raise NoBodyError(message)
        if len(body) > settings.max_body_bytes:
            message = (
                f"the message has {len(body)} bytes; at most {settings.max_body_bytes} are accepted"
            )
            raise BodyTooLargeError(message)
        self._services.metrics.models.read_seconds.observe(self._desk.clock() - started)
        most = self._desk.admission.capacity
        return await self._desk.parse(
            lambda: self._parse(body, exchange, most),
            effort=len(body) // COPY_EFFORT,
            text_bytes=len(body),  # typed contents are numbers one by one, too
            deadline=deadline,
        )

    def _parse(
        self, body: bytes, exchange: Exchange, most: int
    ) -> tuple[ServedModel, InferRequest]:
        message = messages.parse_message(pb.ModelInferRequest, body)
        model = self._services.catalog.find(message.model_name, message.model_version)
        exchange.model = model
        return model, messages.parse_infer(message, model, most)

    async def _server_live(self, _: pb.ServerLiveRequest) -> Message:
        return pb.ServerLiveResponse(live=not is_stuck(self._services.longest_busy_seconds()))

    async def _server_ready(self, _: pb.ServerReadyRequest) -> Message:
        return pb.ServerReadyResponse(ready=self._services.lifecycle.state is State.READY)

    async def _model_ready(self, asked: pb.ModelReadyRequest) -> Message:
        return pb.ModelReadyResponse(ready=self._oip.is_ready(asked.name, asked.version))

    async def _server_metadata(self, _: pb.ServerMetadataRequest) -> Message:
        return pb.ServerMetadataResponse(
            name=SERVER_NAME, version=__version__, extensions=EXTENSIONS
        )

    async def _model_metadata(self, asked: pb.ModelMetadataRequest) -> Message:
        return messages.build_model_metadata(self._oip.describe(asked.name, asked.version))

    async def _repository_index(self, asked: pb.RepositoryIndexRequest) -> Message:
        models = self._oip.list_models(only_ready=asked.ready)
        return pb.RepositoryIndexResponse(
            models=[pb.RepositoryIndexResponse.ModelIndex(**model) for model in models]
        )

    async def _model_statistics(self, asked: pb.ModelStatisticsRequest) -> Message:
        described = await self._oip.build_statistics(asked.name, asked.version)
        return pb.ModelStatisticsResponse(
            model_stats=[messages.build_statistics(each) for each in described]
        )

    async def _watch(
        self, method: str, context: Context, answer: Callable[[Exchange], Awaitable[bytes]]
    ) -> bytes:
        """Handle one request; every failure ends here."""
        recorder = self._services.recorder
        with recorder.record(_describe_arrival(method, context)) as exchange:
            exchange.endpoint = f"/{GRPC_SERVICE}/{method}"
            body = b""
            try:
                self._check_token(method, context)
                body = await answer(exchange)
                exchange.status = 200
                _finish(context, exchange, grpc.StatusCode.OK)
            except RequestError as error:
                self._refuse(context, exchange, error)
            except asyncio.CancelledError:
                # gRPC ends the handler when the client leaves, and at the client's deadline.
                self._refuse(context, exchange, _explain_end(context))
                raise
            except Exception as error:  # noqa: BLE001  request boundary
                _log.error(names.EVENT_REQUEST_FAILED, error=type(error).__name__, exc_info=error)
                self._refuse(context, exchange, InternalError("see the log"))
            return body

    def _check_token(self, method: str, context: Context) -> None:
        """Demand a token, as over HTTP, for everything but probes."""
        check = self._services.check_token
        if check is not None and method not in _QUIET:
            check(_read_metadata(context).get("authorization"))

    def _refuse(self, context: Context, exchange: Exchange, error: RequestError) -> None:
        """End a call with an error. Not by `abort`, which a stopping server takes for a crash."""
        self._services.recorder.refuse(exchange, error)
        exchange.status = error.status
        code = CODES.get(error.status, grpc.StatusCode.UNKNOWN)
        context.set_code(code)
        context.set_details(str(error))
        _finish(context, exchange, code, retry_after=error.headers.get("Retry-After"))


def _describe_arrival(method: str, context: Context) -> Arrival:
    headers = _read_metadata(context)
    attributes: dict[str, str | int] = {
        names.RPC_SYSTEM: "grpc",
        names.RPC_SERVICE: GRPC_SERVICE,
        names.RPC_METHOD: method,
    }
    if "user-agent" in headers:
        attributes[names.USER_AGENT] = headers["user-agent"][:256]
    return Arrival(
        method="POST",
        path=f"/{GRPC_SERVICE}/{method}",
        span_name=f"{GRPC_SERVICE}/{method}",
        headers=headers,
        attributes=attributes,
        quiet=method in _QUIET,
    )


def _read_metadata(context: Context) -> dict[str, str]:
    """Return the textual metadata; a repeated key keeps its first value."""
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found.setdefault(key, value)
    return found


def _explain_end(context: Context) -> RequestError:
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        return DeadlineExceededError("the answer was not ready before the client's deadline")
    return ClientGoneError("the client cancelled the call")


def _finish(
    context: Context,
    exchange: Exchange,
    code: grpc.StatusCode,
    *,
    retry_after: str | None = None,
) -> None:
    exchange.span_attributes[names.RPC_GRPC_STATUS_CODE] = int(code.value[0])
    metadata = [("x-request-id", exchange.request_id)]
    if retry_after is not None:
        # What gRPC's own retry policies obey.
        metadata.append(("grpc-retry-pushback-ms", f"{int(retry_after) * 1000}"))
    context.set_trailing_metadata(tuple(metadata))
