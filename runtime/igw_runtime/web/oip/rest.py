"""The Open Inference Protocol over HTTP: metadata, health, repository, statistics, inference."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from igw_runtime import __version__
from igw_runtime.errors import MalformedRequestError
from igw_runtime.models.catalog import ModelCatalog
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
    """The handlers, and what the protocol says of the models in any wire format."""

    def __init__(
        self,
        *,
        desk: Desk,
        lifecycle: Lifecycle,
        metrics: Metrics,
        catalog: ModelCatalog,
    ) -> None:
        self._desk = desk
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._catalog = catalog

    async def server(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2`."""
        await send_json(
            send, 200, {"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS}
        )

    async def model(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models/{model}`."""
        await send_json(send, 200, self.describe(*_asked(scope)))

    async def ready(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models/{model}/ready`: clients judge by the status alone."""
        name, version = _asked(scope)
        ready = self.is_ready(name, version)
        await send_json(send, 200 if ready else 503, {"name": name, "ready": ready})

    async def index(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v2/repository/index`: every version of every model, ready or not."""
        only_ready = await _read_question(scope, receive)
        await send_json(send, 200, self.list_models(only_ready=only_ready))

    async def statistics(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models[/{model}[/versions/{version}]]/stats`."""
        await send_json(send, 200, {"model_stats": await self.build_statistics(*_asked(scope))})

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v2/models/{model}/infer`."""
        model = get_exchange(scope).model = self._catalog.find(*_asked(scope))
        ticket, deadline = self._desk.admit(scope)
        with ticket:
            request = await self._read(scope, receive, ticket, model, deadline)
            exchange = get_exchange(scope)
            exchange.deadline = deadline = request.tighten(deadline, exchange.started)
            rows = await self._desk.classify(model, request.payloads, keep, deadline, receive)
        await _answer(scope, send, request, rows, model)

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """Return the metadata of a model; without a version, it names all that there are."""
        self._lifecycle.check_accepting()
        model = self._catalog.find(name, version)
        versions = [model] if version else self._catalog.list_versions(name)
        return build_metadata(model, [each.version for each in versions])

    def is_ready(self, name: str, version: str) -> bool:
        """Tell whether this model is to be sent requests."""
        self._catalog.check_name(name)
        if self._lifecycle.state is not State.READY:
            return False
        self._catalog.find(name, version)
        return True

    def list_models(self, *, only_ready: bool) -> list[dict[str, str]]:
        """Return the index of the repository."""
        state = self._lifecycle.state
        if state is State.READY:
            return [
                {"name": it.name, "version": it.version, "state": "READY", "reason": ""}
                for it in self._catalog.models
            ]
        if only_ready:
            return []
        unavailable = {"state": "UNAVAILABLE", "reason": state.value}
        return [{"name": name, **unavailable} for name in self._catalog.names]

    async def build_statistics(self, name: str, version: str) -> list[dict[str, Any]]:
        """Return what models have done: one version, all of a name, or all without a name."""
        self._lifecycle.check_accepting()
        if version:
            models: Sequence[ServedModel] = [self._catalog.find(name, version)]
        elif name:
            self._catalog.check_name(name)
            models = self._catalog.list_versions(name)
        else:
            models = self._catalog.models
        return await asyncio.to_thread(build_statistics, self._metrics.registry, models)

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
