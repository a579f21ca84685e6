"""The Open Inference Protocol over HTTP: metadata, health, repository, statistics, inference."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from igw_runtime import __version__
from igw_runtime.errors import MalformedRequestError, NotFoundError
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.serving.jobs import Classification
from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.serving.payloads import check_content_encoding, expand, parse_json_object
from igw_runtime.telemetry.metrics import Metrics
from igw_runtime.web.admission import Ticket, read_body
from igw_runtime.web.exchange import (
    get_exchange,
    read_headers,
    send_compressed,
    send_json,
)
from igw_runtime.web.oip.framing import (
    LENGTH_HEADER,
    encode_answer,
    parse_header_length,
    parse_message,
)
from igw_runtime.web.oip.inference import InferRequest, build_metadata
from igw_runtime.web.oip.model_statistics import build_statistics
from igw_runtime.web.submission import COPY_EFFORT, Desk, keep, off_loop

SERVER_NAME: Final = "igw-runtime"
EXTENSIONS: Final = ("binary_tensor_data", "statistics")
_MAX_QUESTION_BYTES: Final = 65_536
_QUESTION_SECONDS: Final = 5.0
_JSON_NUMBER_BYTES: Final = 22


class OpenInference:
    """The handlers, and what the protocol says of the model in any wire format."""

    def __init__(
        self,
        *,
        desk: Desk,
        lifecycle: Lifecycle,
        metrics: Metrics,
        name: str,
        read_model: Callable[[], ServedModel],
    ) -> None:
        self._desk = desk
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._name = name
        self._read_model = read_model

    async def server(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2`."""
        await send_json(
            send, 200, {"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS}
        )

    async def model(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models/{model}`."""
        self._lifecycle.check_accepting()
        await send_json(send, 200, build_metadata(self.find_model(*_asked(scope))))

    async def ready(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models/{model}/ready`: clients judge by the status alone."""
        ready = self.is_ready(*_asked(scope))
        await send_json(send, 200 if ready else 503, {"name": self._name, "ready": ready})

    async def index(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v2/repository/index`: the one model, ready or not."""
        only_ready = await _read_question(scope, receive)
        await send_json(send, 200, self.list_models(only_ready=only_ready))

    async def statistics(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models[/{model}[/versions/{version}]]/stats`."""
        await send_json(send, 200, {"model_stats": [await self.build_statistics(*_asked(scope))]})

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v2/models/{model}/infer`."""
        name, version = _asked(scope)
        self.check_name(name)
        ticket, deadline = self._desk.admit(scope)
        with ticket:
            model = self.find_model(name, version)
            request = await self._read(scope, receive, ticket, model, deadline)
            exchange = get_exchange(scope)
            exchange.deadline = deadline = request.tighten(deadline, exchange.started)
            rows = await self._desk.classify(request.payloads, keep, deadline, receive)
        await _answer(scope, send, request, rows, model)

    def check_name(self, asked: str) -> None:
        """Refuse to serve one model under another's name."""
        if asked != self._name:
            message = f"unknown model {asked[:80]!r}; this server has {self._name!r}"
            raise NotFoundError(message)

    def find_model(self, name: str, version: str) -> ServedModel:
        """Return the model if it is the one that is asked for; an empty version is any."""
        self.check_name(name)
        model = self._read_model()
        if version not in {"", model.version}:
            message = f"unknown version {version[:80]!r}; this server has {model.version!r}"
            raise NotFoundError(message)
        return model

    def is_ready(self, name: str, version: str) -> bool:
        """Tell whether this model is to be sent requests."""
        self.check_name(name)
        if self._lifecycle.state is not State.READY:
            return False
        self.find_model(name, version)
        return True

    def list_models(self, *, only_ready: bool) -> list[dict[str, str]]:
        """Return the index of the repository."""
        state = self._lifecycle.state
        if state is not State.READY:
            entry = {"name": self._name, "state": "UNAVAILABLE", "reason": state.value}
            return [] if only_ready else [entry]
        version = self._read_model().version
        return [{"name": self._name, "version": version, "state": "READY", "reason": ""}]

    async def build_statistics(self, name: str, version: str) -> dict[str, Any]:
        """Return what the model has done; an empty name is any model."""
        self._lifecycle.check_accepting()
        model = self.find_model(name or self._name, version)
        return await asyncio.to_thread(build_statistics, self._metrics.registry, model)

    async def _read(
        self,
        scope: Scope,
        receive: Receive,
        ticket: Ticket,
        model: ServedModel,
        deadline: Deadline,
    ) -> InferRequest:
        """Read and parse a request; its body is not kept."""
        headers = read_headers(scope)
        check_content_encoding(headers.get("content-encoding", ""))
        header_length = parse_header_length(headers.get(LENGTH_HEADER))
        payload = await self._desk.read_payload(scope, receive)
        limit = self._desk.settings.max_body_bytes
        most = self._desk.admission.capacity
        size = limit if payload.packed else len(payload.body)
        text_bytes = size if header_length is None else min(size, header_length)
        # A tensor of one image is megabytes of JSON: parsing it here would stall every probe.
        request = await self._desk.parse(
            lambda: parse_message(expand(payload, limit), header_length, model, most),
            effort=(size if payload.packed else size // COPY_EFFORT) + text_bytes,
            text_bytes=text_bytes,
            deadline=deadline,
        )
        ticket.hold(len(request.payloads), request.size_bytes)
        return request


async def _answer(
    scope: Scope,
    send: Send,
    request: InferRequest,
    rows: list[Classification],
    model: ServedModel,
) -> None:
    spelled = 0 if all(output.binary for output in request.outputs) else len(rows) * model.classes
    body, header_length = await off_loop(
        lambda: encode_answer(request, rows, model), spelled * _JSON_NUMBER_BYTES
    )
    if header_length is None:
        await send_compressed(scope, send, body)
        return
    headers = {"Inference-Header-Content-Length": str(header_length)}
    await send_compressed(
        scope, send, body, content_type="application/octet-stream", headers=headers
    )


def _asked(scope: Scope) -> tuple[str, str]:
    parameters: dict[str, Any] = scope["path_params"]
    return parameters.get("model", ""), parameters.get("version", "")


async def _read_question(scope: Scope, receive: Receive) -> bool:
    """Return whether only ready models are asked for; the body is optional."""
    body = await read_body(receive, _MAX_QUESTION_BYTES, _QUESTION_SECONDS, required=False)
    get_exchange(scope).body_read = True
    only_ready = parse_json_object(body).get("ready", False) if body else False
    if not isinstance(only_ready, bool):
        message = "ready must be true or false"
        raise MalformedRequestError(message)
    return only_ready
