"""The Open Inference Protocol v2 over JSON: metadata, health and inference.

Inputs are one of two: `image`, BYTES with base64 pictures (as OVMS takes JPEGs), or `input`, an
FP32 tensor that is already preprocessed. Outputs are `probabilities` and `labels`. The binary
tensor extension is not implemented, and not advertised.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from starlette.types import Receive, Scope, Send

from igw_runtime import __version__
from igw_runtime.errors import MalformedRequestError, NotFoundError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.classifier import TOP
from igw_runtime.serving.jobs import Classification, ImagePayload
from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.serving.payloads import (
    check_content_encoding,
    decode_base64,
    expand,
    parse_json_object,
)
from igw_runtime.web.exchange import encode_json, read_headers, send_json, send_response
from igw_runtime.web.submission import Desk

IMAGE_INPUT: Final = "image"
TENSOR_INPUT: Final = "input"
OUTPUTS: Final = ("probabilities", "labels")
Parser = Callable[[Mapping[str, Any], ServedModel], Sequence[ImagePayload | Tensor]]
Rows = list[tuple[list[float], list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A parsed request: the images in it and what is wanted back."""

    payloads: Sequence[ImagePayload | Tensor]
    outputs: Sequence[str]
    id: str | None


class OpenInference:
    """The handlers; they share the model and the desk."""

    def __init__(
        self, desk: Desk, lifecycle: Lifecycle, name: str, read_model: Callable[[], ServedModel]
    ) -> None:
        self._desk = desk
        self._lifecycle = lifecycle
        self._name = name
        self._read_model = read_model

    async def server(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2`."""
        await send_json(
            send, 200, {"name": "igw-runtime", "version": __version__, "extensions": []}
        )

    async def model(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models/{model}`."""
        self._lifecycle.check_accepting()
        model = self._find_model(scope)
        await send_json(send, 200, build_metadata(model))

    async def ready(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /v2/models/{model}/ready`: clients judge by the status alone."""
        self._check_name(scope)
        ready = self._lifecycle.state is State.READY
        if ready:
            self._find_model(scope)
        await send_json(send, 200 if ready else 503, {"name": self._name, "ready": ready})

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v2/models/{model}/infer`."""
        self._check_name(scope)
        ticket, deadline = self._desk.admit(scope)
        with ticket:
            model = self._find_model(scope)
            headers = read_headers(scope)
            check_content_encoding(headers.get("content-encoding", ""))
            if "inference-header-content-length" in headers:
                message = "the binary tensor extension is not supported; send JSON"
                raise MalformedRequestError(message)
            payload = await self._desk.read_payload(scope, receive)
            limit = self._desk.settings.max_body_bytes
            # A tensor of one image is megabytes of JSON: parsing it here would stall every probe.
            request = await asyncio.to_thread(lambda: parse_infer(expand(payload, limit), model))
            ticket.extend(len(request.payloads) - 1)
            rows = await self._desk.classify(request.payloads, _render_row, deadline, receive)
        body = await asyncio.to_thread(lambda: encode_json(build_answer(request, rows, model)))
        await send_response(send, 200, body)

    def _check_name(self, scope: Scope) -> None:
        asked = scope["path_params"]["model"]
        if asked != self._name:
            message = f"unknown model {asked[:80]!r}; this server has {self._name!r}"
            raise NotFoundError(message)

    def _find_model(self, scope: Scope) -> ServedModel:
        self._check_name(scope)
        model = self._read_model()
        version = scope["path_params"].get("version", model.version)
        if version != model.version:
            message = f"unknown version {version[:80]!r}; this server has {model.version!r}"
            raise NotFoundError(message)
        return model


def build_metadata(model: ServedModel) -> dict[str, Any]:
    """Describe the model's tensors, and how it is truly run."""
    shape = [-1, 3, model.side, model.side]
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": f"igw_runtime_{model.engine}",
        "inputs": [
            {"name": IMAGE_INPUT, "datatype": "BYTES", "shape": [-1]},
            {"name": TENSOR_INPUT, "datatype": "FP32", "shape": shape},
        ],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, model.classes]},
            {"name": "labels", "datatype": "BYTES", "shape": [-1, min(TOP, model.classes)]},
        ],
        "parameters": {
            "weights": model.weights,
            "precision": model.precision,
            "engine": model.engine,
            "device": model.device,
        },
    }


def parse_infer(body: bytes, model: ServedModel) -> InferRequest:
    """Parse an inference request against the model's metadata."""
    content = parse_json_object(body)
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        message = f'send exactly one input, "{IMAGE_INPUT}" or "{TENSOR_INPUT}"'
        raise MalformedRequestError(message)
    request_id = content.get("id")
    if request_id is not None and not _is_text(request_id):
        message = "id must be a string"
        raise MalformedRequestError(message)
    parsers: Mapping[str, Parser] = {IMAGE_INPUT: _parse_images, TENSOR_INPUT: _parse_tensors}
    parse = parsers.get(str(inputs[0].get("name")))
    if parse is None:
        message = f'unknown input; this model has "{IMAGE_INPUT}" and "{TENSOR_INPUT}"'
        raise MalformedRequestError(message)
    return InferRequest(
        payloads=parse(inputs[0], model), outputs=_parse_outputs(content), id=request_id
    )


def build_answer(request: InferRequest, rows: Rows, model: ServedModel) -> dict[str, Any]:
    """Assemble the response tensors, row-major and flat."""
    best = len(rows[0][1])
    tensors: Mapping[str, dict[str, Any]] = {
        "probabilities": {
            "datatype": "FP32",
            "shape": [len(rows), model.classes],
            "data": [value for scores, _ in rows for value in scores],
        },
        "labels": {
            "datatype": "BYTES",
            "shape": [len(rows), best],
            "data": [label for _, labels in rows for label in labels],
        },
    }
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        answer["id"] = request.id
    answer["outputs"] = [{"name": name, **tensors[name]} for name in request.outputs]
    return answer


def _render_row(result: Classification) -> tuple[list[float], list[str]]:
    return result.scores.tolist(), [label for _, label, _ in result.top]


def _parse_outputs(content: Mapping[str, Any]) -> Sequence[str]:
    asked = content.get("outputs")
    if asked is None:
        return OUTPUTS
    entries = asked if isinstance(asked, list) else []
    names = [str(entry.get("name")) for entry in entries if isinstance(entry, dict)]
    if not names or not set(names) <= set(OUTPUTS):
        message = f"unknown output; this model has {', '.join(OUTPUTS)}"
        raise MalformedRequestError(message)
    return list(dict.fromkeys(names))


def _parse_images(tensor: Mapping[str, Any], _model: ServedModel) -> Sequence[ImagePayload]:
    shape, data = tensor.get("shape"), _flatten(tensor.get("data"))
    wrong_type = tensor.get("datatype") != "BYTES"
    if wrong_type or not data or shape not in ([len(data)], [len(data), 1]):
        message = f'"{IMAGE_INPUT}" is BYTES of shape [n], with n base64 strings as data'
        raise MalformedRequestError(message)
    return [ImagePayload(body=decode_base64(str(item))) for item in data]


def _parse_tensors(tensor: Mapping[str, Any], model: ServedModel) -> Sequence[Tensor]:
    image = [3, model.side, model.side]
    shape: Any = tensor.get("shape")
    explained = f'"{TENSOR_INPUT}" is FP32 of shape [n, {", ".join(map(str, image))}]'
    # By type, as 3.0 and True equal integers and cannot shape an array.
    whole = isinstance(shape, list) and all(type(side) is int for side in shape)
    if tensor.get("datatype") != "FP32" or not whole or shape[1:] != image:
        raise MalformedRequestError(explained)
    try:
        with np.errstate(over="ignore"):  # it becomes infinite, which is refused below
            values = np.asarray(tensor.get("data"), dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"{explained}: {error}"
        raise MalformedRequestError(message) from error
    if shape[0] < 1 or values.size != math.prod(shape):
        message = f"{explained}; the data has {values.size} elements, shape says {shape}"
        raise MalformedRequestError(message)
    if not np.isfinite(values).all():
        message = f"{explained}; the data has values that are not finite"
        raise MalformedRequestError(message)
    return list(values.reshape(shape))


def _flatten(data: object) -> list[object]:
    """Undo the one level of nesting that shape [n, 1] allows."""
    items = data if isinstance(data, list) else []
    return [leaf for item in items for leaf in (item if isinstance(item, list) else [item])]


def _is_text(value: object) -> bool:
    """Tell whether it is a string that can be sent back: JSON may smuggle in half a character."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
