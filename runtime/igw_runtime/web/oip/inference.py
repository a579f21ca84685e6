"""Tensors in, tensors out: the protocol's inference without its wire formats.

Inputs are one of two: `image`, BYTES with encoded pictures (as OVMS takes JPEGs), or `input`, an
FP32 tensor that is already preprocessed and skips decoding. Outputs are `probabilities` and
`labels`. Everything is checked by its shape before anything is allocated for it. Pure.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from igw_runtime.errors import MalformedRequestError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.models.served import ServedModel
from igw_runtime.serving.classifier import TOP
from igw_runtime.serving.deadlines import MAX_HEADER_MILLISECONDS, Deadline
from igw_runtime.serving.jobs import Classification, ImagePayload
from igw_runtime.serving.payloads import decode_base64

IMAGE_INPUT: Final = "image"
TENSOR_INPUT: Final = "input"
PROBABILITIES: Final = "probabilities"
LABELS: Final = "labels"
OUTPUTS: Final = (PROBABILITIES, LABELS)

DATATYPES: Final = frozenset(
    {
        *("BOOL", "BYTES", "BF16", "FP16", "FP32", "FP64"),
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
    }
)
RAW_ONLY_DATATYPES: Final = frozenset({"FP16", "BF16"})
_ELEMENT: Final = np.dtype("<f4")
_LENGTH: Final = struct.Struct("<I")
_MAX_TIMEOUT_MICROSECONDS: Final = MAX_HEADER_MILLISECONDS * 1000
# Asked for, these change what the answer means or where it goes; the rest may be ignored.
_UNSERVED_PARAMETERS: Final = ("classification", "shared_memory_region")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTensor:
    """One input as it arrived: its elements one by one, or as raw little-endian bytes."""

    name: str
    datatype: str
    shape: Sequence[int]
    elements: Any = None
    raw: memoryview | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedOutput:
    """One output to send, and in which of the two forms."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A request whose every part was checked."""

    payloads: Sequence[ImagePayload | Tensor]
    outputs: Sequence[WantedOutput]
    id: str = ""
    timeout_seconds: float | None = None

    @property
    def size_bytes(self) -> int:
        """Return what the images take while they wait."""
        return measure(self.payloads)

    def tighten(self, deadline: Deadline, started: float) -> Deadline:
        """Return the deadline, or the request's own if that is earlier."""
        if self.timeout_seconds is None:
            return deadline
        return deadline.earlier(started + self.timeout_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTensor:
    """One output, row-major."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Tensor | Sequence[str]

    def to_elements(self) -> list[Any]:
        """Return the elements, flat."""
        if isinstance(self.values, np.ndarray):
            return list(self.values.ravel().tolist())
        return list(self.values)

    def to_raw(self) -> bytes:
        """Return the elements as the protocol's raw bytes."""
        if isinstance(self.values, np.ndarray):
            return self.values.astype(_ELEMENT, copy=False).tobytes()
        return join_elements([text.encode() for text in self.values])


Builder = Callable[[InputTensor, ServedModel, int], Sequence[ImagePayload | Tensor]]


def build_payloads(
    inputs: Sequence[InputTensor], model: ServedModel, most: int
) -> Sequence[ImagePayload | Tensor]:
    """Return one payload for each image in the inputs, of which there may be `most`."""
    known: Mapping[str, Builder] = {IMAGE_INPUT: _build_images, TENSOR_INPUT: _build_tensors}
    for given in inputs:
        if given.name not in known:
            message = (
                f'unknown input {given.name[:80]!r}; this model has "{IMAGE_INPUT}" '
                f'and "{TENSOR_INPUT}"'
            )
            raise MalformedRequestError(message)
    if len(inputs) != 1:
        message = f'send exactly one input, "{IMAGE_INPUT}" or "{TENSOR_INPUT}"; got {len(inputs)}'
        raise MalformedRequestError(message)
    [tensor] = inputs
    if tensor.datatype not in DATATYPES:
        message = f"unknown datatype {tensor.datatype[:80]!r}"
        raise MalformedRequestError(message)
    if tensor.raw is None and tensor.datatype in RAW_ONLY_DATATYPES:
        message = f"{tensor.datatype} can only be sent as raw bytes"
        raise MalformedRequestError(message)
    return known[tensor.name](tensor, model, most)


def choose_outputs(
    asked: Sequence[tuple[str, bool | None]], *, binary: bool
) -> Sequence[WantedOutput]:
    """Return the outputs to send: those that are named, or all; `binary` is the default form."""
    wanted = {name: binary if own is None else own for name, own in asked}
    if not set(wanted) <= set(OUTPUTS):
        message = f"unknown output; this model has {', '.join(OUTPUTS)}"
        raise MalformedRequestError(message)
    if len(wanted) != len(asked):
        message = "an output is asked for twice"
        raise MalformedRequestError(message)
    chosen = wanted or dict.fromkeys(OUTPUTS, binary)
    return [WantedOutput(name=name, binary=form) for name, form in chosen.items()]


def check_output_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse what would make the answer another one than was asked for."""
    for name in _UNSERVED_PARAMETERS:
        if parameters.get(name):
            message = f'the output parameter "{name}" is not supported'
            raise MalformedRequestError(message)


def parse_timeout_parameter(value: object) -> float | None:
    """Return the seconds of a `timeout` parameter, given in microseconds; 0 is none.

    More than any request may take is that: JSON can name numbers that no float holds.
    """
    if value is None:
        return None
    if type(value) is not int or value < 0:
        message = "the parameter timeout must be a whole number of microseconds"
        raise MalformedRequestError(message)
    return min(value, _MAX_TIMEOUT_MICROSECONDS) / 1e6 if value else None


def build_outputs(
    request: InferRequest, rows: Sequence[Classification], model: ServedModel
) -> Sequence[OutputTensor]:
    """Return the outputs that were asked for, in that order."""
    best = len(rows[0].top)
    tensors = {
        PROBABILITIES: lambda: OutputTensor(
            name=PROBABILITIES,
            datatype="FP32",
            shape=[len(rows), model.classes],
            values=np.stack([row.scores for row in rows]),
        ),
        LABELS: lambda: OutputTensor(
            name=LABELS,
            datatype="BYTES",
            shape=[len(rows), best],
            values=[label for row in rows for _, label, _ in row.top],
        ),
    }
    return [tensors[wanted.name]() for wanted in request.outputs]


def build_metadata(model: ServedModel, versions: Sequence[str]) -> dict[str, Any]:
    """Describe the model's tensors, how it is truly run, and which versions can be asked for."""
    return {
        "name": model.name,
        "versions": list(versions),
        "platform": f"igw_runtime_{model.engine}",
        "inputs": [
            {"name": IMAGE_INPUT, "datatype": "BYTES", "shape": [-1]},
            {"name": TENSOR_INPUT, "datatype": "FP32", "shape": [-1, 3, model.side, model.side]},
        ],
        "outputs": [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, model.classes]},
            {"name": LABELS, "datatype": "BYTES", "shape": [-1, min(TOP, model.classes)]},
        ],
        "parameters": {
            "weights": model.weights,
            "precision": model.precision,
            "engine": model.engine,
            "device": model.device,
        },
    }


def split_elements(raw: memoryview, count: int) -> list[bytes]:
    """Cut raw BYTES into `count` elements: each is its length, as u32, and then itself."""
    elements: list[bytes] = []
    at = 0
    for _ in range(count):
        if len(raw) - at < _LENGTH.size:
            message = f"the raw data ends before element {len(elements)} of {count}"
            raise MalformedRequestError(message)
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if length > len(raw) - at:
            message = f"element {len(elements)} says {length} bytes; {len(raw) - at} are left"
            raise MalformedRequestError(message)
        elements.append(bytes(raw[at : at + length]))
        at += length
    if at != len(raw):
        message = f"{len(raw) - at} bytes of raw data are left over after {count} elements"
        raise MalformedRequestError(message)
    return elements


def join_elements(elements: Sequence[bytes]) -> bytes:
    """Return BYTES elements in their raw form."""
    return b"".join(_LENGTH.pack(len(each)) + each for each in elements)


def measure(payloads: Sequence[ImagePayload | Tensor]) -> int:
    """Return how many bytes the images take while they wait."""
    return sum(
        len(each.body) if isinstance(each, ImagePayload) else each.nbytes for each in payloads
    )


def is_text(value: object) -> bool:
    """Tell whether it is a string that can be sent back: JSON may smuggle in half a character."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _build_images(tensor: InputTensor, _model: ServedModel, most: int) -> Sequence[ImagePayload]:
    explained = f'"{IMAGE_INPUT}" is BYTES of shape [n] or [n, 1]'
    count = _check_count(tensor.shape, [1] if len(tensor.shape) > 1 else [], most, explained)
    if tensor.datatype != "BYTES":
        message = f"{explained}, not {tensor.datatype}"
        raise MalformedRequestError(message)
    if tensor.raw is not None:
        return [ImagePayload(body=each) for each in split_elements(tensor.raw, count)]
    elements = _flatten(tensor.elements)
    if len(elements) != count:
        message = f"{explained}; the data has {len(elements)} elements, the shape says {count}"
        raise MalformedRequestError(message)
    return [ImagePayload(body=_read_element(each)) for each in elements]


def _build_tensors(tensor: InputTensor, model: ServedModel, most: int) -> Sequence[Tensor]:
    image = [3, model.side, model.side]
    explained = f'"{TENSOR_INPUT}" is FP32 of shape [n, {", ".join(map(str, image))}]'
    count = _check_count(tensor.shape, image, most, explained)
    if tensor.datatype != "FP32":
        message = f"{explained}, not {tensor.datatype}"
        raise MalformedRequestError(message)
    expected = count * math.prod(image)
    values = _read_raw(tensor.raw, expected) if tensor.raw is not None else _read_numbers(tensor)
    if values.size != expected:
        message = f"{explained}; the data has {values.size} elements, the shape says {expected}"
        raise MalformedRequestError(message)
    if not np.isfinite(values).all():
        message = f"{explained}; the data has values that are not finite"
        raise MalformedRequestError(message)
    return list(values.reshape([count, *image]))


def _check_count(shape: Sequence[int], rest: Sequence[int], most: int, explained: str) -> int:
    """Return the first dimension of a shape that is otherwise as it has to be."""
    # By type, as 3.0 and True equal integers and cannot shape an array.
    if not shape or any(type(side) is not int for side in shape) or list(shape[1:]) != list(rest):
        raise MalformedRequestError(explained)
    if shape[0] < 1:
        message = f"{explained}; n is {shape[0]}"
        raise MalformedRequestError(message)
    if shape[0] > most:
        # No retry would help, and no server has failed.
        message = f"the request holds {shape[0]} images; at most {most} are accepted"
        raise MalformedRequestError(message)
    return shape[0]


def _read_raw(raw: memoryview, expected: int) -> Tensor:
    if len(raw) != expected * _ELEMENT.itemsize:
        message = (
            f"the raw data has {len(raw)} bytes; its shape takes {expected * _ELEMENT.itemsize}"
        )
        raise MalformedRequestError(message)
    return np.frombuffer(raw, dtype=_ELEMENT).astype(np.float32, copy=False)


def _read_numbers(tensor: InputTensor) -> Tensor:
    try:
        values = np.asarray(tensor.elements)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"the data is no array of numbers: {error}"
        raise MalformedRequestError(message) from error
    if values.dtype.kind not in "fiu":
        message = "the data is no array of numbers"
        raise MalformedRequestError(message)
    with np.errstate(over="ignore"):  # it becomes infinite, which is refused later
        return values.astype(np.float32, copy=False)


def _flatten(data: object) -> list[object]:
    """Undo the one level of nesting that shape [n, 1] allows."""
    items = data if isinstance(data, list) else []
    return [leaf for item in items for leaf in (item if isinstance(item, list) else [item])]


def _read_element(element: object) -> bytes:
    """Return one picture: JSON has it as base64, protobuf as it is."""
    if isinstance(element, bytes):
        return element
    if not isinstance(element, str):
        message = "a picture must be a base64 string"
        raise MalformedRequestError(message)
    return decode_base64(element)
