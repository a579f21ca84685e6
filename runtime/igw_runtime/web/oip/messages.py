"""Between protobuf messages and the protocol's own terms. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from igw_runtime.errors import MalformedRequestError
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.jobs import Classification
from igw_runtime.web.oip import open_inference_pb2 as pb
from igw_runtime.web.oip.inference import (
    InferRequest,
    InputTensor,
    build_outputs,
    build_payloads,
    check_output_parameters,
    choose_outputs,
    parse_timeout_parameter,
)

M = TypeVar("M", bound=Message)


def parse_message(kind: type[M], body: bytes) -> M:
    """Parse one message."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        message = f"the message is no {kind.DESCRIPTOR.name}"
        raise MalformedRequestError(message) from error


def parse_infer(message: pb.ModelInferRequest, model: ServedModel, most: int) -> InferRequest:
    """Parse a request of at most `most` images against the model's metadata.

    Who sends raw tensors gets raw tensors; who sends typed ones can read typed ones.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        text = f"raw_input_contents has {len(raw)} entries for {len(message.inputs)} inputs"
        raise MalformedRequestError(text)
    views: Sequence[memoryview | None] = [memoryview(each) for each in raw]
    views = views or [None] * len(message.inputs)
    inputs = [_read_input(each, view) for each, view in zip(message.inputs, views, strict=True)]
    for output in message.outputs:
        check_output_parameters(_read_parameters(output.parameters))
    return InferRequest(
        payloads=build_payloads(inputs, model, most),
        outputs=choose_outputs([(each.name, None) for each in message.outputs], binary=bool(raw)),
        id=message.id,
        timeout_seconds=parse_timeout_parameter(
            _read_parameters(message.parameters).get("timeout")
        ),
    )


def build_answer(
    request: InferRequest, rows: Sequence[Classification], model: ServedModel
) -> pb.ModelInferResponse:
    """Return the outputs, all raw or all typed, as protobuf has room for one of the two."""
    answer = pb.ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.id
    )
    for wanted, output in zip(request.outputs, build_outputs(request, rows, model), strict=True):
        described = answer.outputs.add(
            name=output.name, datatype=output.datatype, shape=output.shape
        )
        if wanted.binary:
            answer.raw_output_contents.append(output.to_raw())
        elif output.datatype == "FP32":
            described.contents.fp32_contents.extend(output.to_elements())
        else:
            described.contents.bytes_contents.extend(text.encode() for text in output.to_elements())
    return answer


def build_model_metadata(described: Mapping[str, Any]) -> pb.ModelMetadataResponse:
    """Return what the REST endpoint says of the model, but for the parameters."""
    return pb.ModelMetadataResponse(
        **{key: value for key, value in described.items() if key != "parameters"}
    )


def build_statistics(described: Mapping[str, Any]) -> pb.ModelStatistics:
    """Return what the REST endpoint says of the model's past."""
    return pb.ModelStatistics(**described)


def _read_input(
    tensor: pb.ModelInferRequest.InferInputTensor, raw: memoryview | None
) -> InputTensor:
    typed = tensor.HasField("contents")
    if typed and raw is not None:
        message = "an input has either contents or raw_input_contents"
        raise MalformedRequestError(message)
    elements: Any = []
    if tensor.datatype == "BYTES":
        elements = list(tensor.contents.bytes_contents)
    elif tensor.datatype == "FP32":
        elements = np.array(tensor.contents.fp32_contents, dtype=np.float32)
    return InputTensor(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=list(tensor.shape),
        elements=elements,
        raw=raw,
    )


def _read_parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in parameters.items()}
    return {name: getattr(parameters[name], choice) for name, choice in chosen.items() if choice}
