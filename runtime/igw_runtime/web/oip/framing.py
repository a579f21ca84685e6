"""A REST inference message: its JSON object, and the raw tensors that may follow it.

Implements the binary tensor data extension: tensors follow the object in the order in which it
names them, and `Inference-Header-Content-Length` tells where the object ends. Pure.
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from igw_runtime.errors import MalformedRequestError
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.jobs import Classification, ImagePayload
from igw_runtime.serving.payloads import parse_json_object
from igw_runtime.web.exchange import encode_json
from igw_runtime.web.oip.inference import (
    InferRequest,
    InputTensor,
    build_outputs,
    build_payloads,
    check_output_parameters,
    choose_outputs,
    is_text,
    parse_timeout_parameter,
)

LENGTH_HEADER: Final = "inference-header-content-length"
_MAX_LENGTH_DIGITS: Final = 18


def parse_header_length(header: str | None) -> int | None:
    """Return how long the JSON object is; None if it is the whole body."""
    if header is None:
        return None
    if not header.isascii() or not header.isdigit() or len(header) > _MAX_LENGTH_DIGITS:
        message = "Inference-Header-Content-Length is not a number of bytes"
        raise MalformedRequestError(message)
    return int(header)


def parse_message(
    body: bytes, header_length: int | None, model: ServedModel, most: int
) -> InferRequest:
    """Parse a request of at most `most` images against the model's metadata."""
    if header_length == 0:
        # The whole body is the one element of the one input: here, a picture.
        return InferRequest(
            payloads=[ImagePayload(body=body)], outputs=choose_outputs([], binary=True)
        )
    head, tail = _split(body, header_length)
    content = parse_json_object(head)
    request_id = content.get("id", "")
    if request_id is not None and not is_text(request_id):
        message = "id must be a string"
        raise MalformedRequestError(message)
    parameters = _read_parameters(content)
    return InferRequest(
        payloads=build_payloads(_read_inputs(content, tail), model, most),
        outputs=choose_outputs(
            _read_outputs(content),
            binary=_read_flag(parameters, "binary_data_output") or False,
        ),
        id=request_id or "",
        timeout_seconds=parse_timeout_parameter(parameters.get("timeout")),
    )


def encode_answer(
    request: InferRequest, rows: Sequence[Classification], model: ServedModel
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON object if raw tensors follow it."""
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for wanted, output in zip(request.outputs, build_outputs(request, rows, model), strict=True):
        entry: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if wanted.binary:
            raw.append(output.to_raw())
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            entry["data"] = output.to_elements()
        described.append(entry)
    answer = {"model_name": model.name, "model_version": model.version, "outputs": described}
    if request.id:
        answer["id"] = request.id
    head = encode_json(answer)
    return b"".join([head, *raw]), len(head) if raw else None


def _split(body: bytes, header_length: int | None) -> tuple[bytes, memoryview | None]:
    if header_length is None:
        return body, None
    view = memoryview(body)
    if header_length > len(body):
        message = (
            f"Inference-Header-Content-Length is {header_length}; the body has {len(body)} bytes"
        )
        raise MalformedRequestError(message)
    return bytes(view[:header_length]), view[header_length:]


def _read_inputs(content: Mapping[str, Any], tail: memoryview | None) -> Sequence[InputTensor]:
    entries = _read_entries(content, "inputs")
    sizes = [_read_size(entry) for entry in entries]
    if tail is None:
        if any(size is not None for size in sizes):
            message = "binary_data_size needs the header Inference-Header-Content-Length"
            raise MalformedRequestError(message)
        return [_read_input(entry, None) for entry in entries]
    inputs: list[InputTensor] = []
    at = 0
    for entry, size in zip(entries, sizes, strict=True):
        if size is not None and size > len(tail) - at:
            message = f"binary_data_size is {size}; {len(tail) - at} bytes are left in the body"
            raise MalformedRequestError(message)
        inputs.append(_read_input(entry, None if size is None else tail[at : at + size]))
        at += size or 0
    if at != len(tail):
        message = f"the inputs have {at} bytes of binary data; the body has {len(tail)}"
        raise MalformedRequestError(message)
    return inputs


def _read_input(entry: Mapping[str, Any], raw: memoryview | None) -> InputTensor:
    name, datatype, shape = (entry.get(key) for key in ("name", "datatype", "shape"))
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        message = "an input needs a name, a datatype and a shape"
        raise MalformedRequestError(message)
    if ("data" in entry) == (raw is not None):
        message = 'an input has either "data" or the parameter "binary_data_size"'
        raise MalformedRequestError(message)
    return InputTensor(
        name=name, datatype=datatype, shape=shape, elements=entry.get("data"), raw=raw
    )


def _read_outputs(content: Mapping[str, Any]) -> Sequence[tuple[str, bool | None]]:
    asked: list[tuple[str, bool | None]] = []
    for entry in _read_entries(content, "outputs"):
        parameters = _read_parameters(entry)
        check_output_parameters(parameters)
        asked.append((str(entry.get("name")), _read_flag(parameters, "binary_data")))
    return asked


def _read_entries(content: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries = content.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        message = f"{key} must be a list of tensors"
        raise MalformedRequestError(message)
    return entries


def _read_parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        message = "parameters must be an object"
        raise MalformedRequestError(message)
    return parameters


def _read_size(entry: Mapping[str, Any]) -> int | None:
    size = _read_parameters(entry).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        message = "binary_data_size must be a number of bytes"
        raise MalformedRequestError(message)
    return size


def _read_flag(parameters: Mapping[str, Any], name: str) -> bool | None:
    flag = parameters.get(name)
    if flag is not None and not isinstance(flag, bool):
        message = f"{name} must be true or false"
        raise MalformedRequestError(message)
    return flag
