"""KServe's v1 protocol: instances in, one prediction for each of them out.

An instance is a picture, as `{"b64": …}`, alone or under one name as TensorFlow Serving has it,
or nested lists of numbers: an image that is already preprocessed. The protocol has no partial
answers: one bad instance is the answer to all, and says which one it was.
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from igw_runtime.errors import MalformedRequestError
from igw_runtime.models.catalog import ModelCatalog
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.serving.jobs import ImagePayload
from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.serving.payloads import (
    check_content_encoding,
    decode_base64,
    expand,
    parse_json_object,
)
from igw_runtime.web.admission import Ticket
from igw_runtime.web.exchange import (
    encode_json,
    get_exchange,
    read_headers,
    send_compressed,
    send_json,
)
from igw_runtime.web.oip.inference import TENSOR_INPUT, InputTensor, build_payloads, measure
from igw_runtime.web.predict import describe_prediction
from igw_runtime.web.submission import Desk, keep


class KServeV1:
    """The handlers."""

    def __init__(self, *, desk: Desk, lifecycle: Lifecycle, catalog: ModelCatalog) -> None:
        self._desk = desk
        self._lifecycle = lifecycle
        self._catalog = catalog

    async def models(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v1/models`."""
        await send_json(send, 200, {"models": self._catalog.names})

    async def ready(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v1/models/{model}`."""
        name = scope["path_params"]["model"]
        self._catalog.check_name(name)
        ready = self._lifecycle.state is State.READY
        await send_json(send, 200 if ready else 503, {"name": name, "ready": ready})

    async def predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/models/{model}:predict`."""
        model = get_exchange(scope).model = self._catalog.find(scope["path_params"]["model"])
        ticket, deadline = self._desk.admit(scope)
        with ticket:
            payloads = await self._read(scope, receive, ticket, model, deadline)
            rows = await self._desk.classify(model, payloads, keep, deadline, receive)
        body = encode_json({"predictions": [describe_prediction(row) for row in rows]})
        await send_compressed(scope, send, body)

    async def _read(
        self,
        scope: Scope,
        receive: Receive,
        ticket: Ticket,
        model: ServedModel,
        deadline: Deadline,
    ) -> Sequence[ImagePayload | Tensor]:
        """Read and parse a request; its body is not kept."""
        check_content_encoding(read_headers(scope).get("content-encoding", ""))
        payload = await self._desk.read_payload(scope, receive)
        limit, most = self._desk.settings.max_body_bytes, self._desk.admission.capacity
        text_bytes = limit if payload.packed else len(payload.body)
        payloads = await self._desk.parse(
            lambda: parse_instances(expand(payload, limit), model, most),
            effort=text_bytes,
            text_bytes=text_bytes,
            deadline=deadline,
        )
        ticket.hold(len(payloads), measure(payloads))
        return payloads


def parse_instances(body: bytes, model: ServedModel, most: int) -> Sequence[ImagePayload | Tensor]:
    """Return one payload for each instance, of which there may be `most`."""
    instances = parse_json_object(body).get("instances")
    if not isinstance(instances, list) or not instances:
        message = 'send {"instances": [{"b64": "…"}, …]}, at least one'
        raise MalformedRequestError(message)
    if len(instances) > most:
        message = f"the request holds {len(instances)} instances; at most {most} are accepted"
        raise MalformedRequestError(message)
    payloads: list[ImagePayload | Tensor] = []
    for number, instance in enumerate(instances):
        try:
            payloads.append(_parse_instance(instance, model))
        except MalformedRequestError as error:
            message = f"instance {number}: {error}"
            raise MalformedRequestError(message) from error
    return payloads


def _parse_instance(instance: object, model: ServedModel) -> ImagePayload | Tensor:
    if isinstance(instance, list):
        shape = [1, 3, model.side, model.side]
        tensor = InputTensor(name=TENSOR_INPUT, datatype="FP32", shape=shape, elements=instance)
        [payload] = build_payloads([tensor], model, most=1)
        return payload
    picture = _find_picture(instance) if isinstance(instance, dict) else None
    if picture is None:
        message = 'neither {"b64": "…"} nor nested lists of numbers'
        raise MalformedRequestError(message)
    return ImagePayload(body=decode_base64(picture))


def _find_picture(instance: Mapping[str, Any]) -> str | None:
    """Return the base64 of `{"b64": …}` or of `{"any name": {"b64": …}}`."""
    if len(instance) != 1:
        return None
    [(name, value)] = instance.items()
    if name != "b64" and isinstance(value, dict) and len(value) == 1:
        value = value.get("b64")
    elif name != "b64":
        return None
    return value if isinstance(value, str) else None
