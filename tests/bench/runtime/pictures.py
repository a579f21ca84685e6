"""The pictures that are sent, and how each protocol packs one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runtime_kit.drafts import draw

SIZES: Final = ((500, 375), (375, 500), (480, 360), (500, 333))
"""As pictures of ImageNet are; their detail falls off as that of photographs does."""
JPEG: Final = "image/jpeg"
_BOUNDARY: Final = "picture-boundary"
_HEAD_BYTES: Final = 256
# As raw bytes: a thousand numbers in JSON for each image would be measured, too.
_SCORES: Final = ({"name": "probabilities", "parameters": {"binary_data": True}},)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A picture as a body of a request."""

    body: bytes
    headers: Mapping[str, str]


Pack = Callable[[bytes], Packed]


def draw_pictures() -> list[bytes]:
    """Return the JPEGs, the same in every run."""
    return [draw(size) for size in SIZES]


def pack_raw(picture: bytes) -> Packed:
    """Return the picture as it is."""
    return Packed(body=picture, headers={"Content-Type": JPEG})


def pack_json(picture: bytes) -> Packed:
    """Return `{"image": base64}`."""
    return _json({"image": _base64(picture)})


def pack_v1(picture: bytes) -> Packed:
    """Return what KServe's first protocol has for binary values."""
    return _json({"instances": [{"image": {"b64": _base64(picture)}}]})


def pack_v2(picture: bytes) -> Packed:
    """Return an Open Inference request in JSON, base64 in it (MLServer's content type)."""
    described = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [_base64(picture)],
    }
    return _json({"inputs": [described]})


def pack_v2_bytes(picture: bytes) -> Packed:
    """Return an Open Inference request with the picture behind it, for a model with batches."""
    return _pack_tensor("BYTES", [1, 1], len(picture).to_bytes(4, "little") + picture)


def pack_v2_numbers(picture: bytes) -> Packed:
    """Return the same as a tensor of small numbers."""
    return _pack_tensor("UINT8", [len(picture)], picture)


def pack_v2_pictures(pictures: Sequence[bytes]) -> Packed:
    """Return pictures for our server: an Open Inference request with several of them behind it."""
    raw = b"".join(len(it).to_bytes(4, "little") + it for it in pictures)
    return _pack_tensor("BYTES", [len(pictures)], raw, outputs=_SCORES)


def pack_v2_tensor(batch: NDArray[np.float32]) -> Packed:
    """Return images that are decoded and preprocessed already, for our server."""
    shape = list(batch.shape)
    return _pack_tensor("FP32", shape, batch.tobytes(), name="input", outputs=_SCORES)


def pack_form(picture: bytes) -> Packed:
    """Return a form with a file."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="it.jpg"\r\n'
        f"Content-Type: {JPEG}\r\n\r\n"
    )
    return Packed(
        body=head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
    )


def _pack_tensor(
    kind: str,
    shape: list[int],
    raw: bytes,
    *,
    name: str = "image",
    outputs: Sequence[Mapping[str, object]] = (),
) -> Packed:
    described = {
        "name": name,
        "shape": shape,
        "datatype": kind,
        "parameters": {"binary_data_size": len(raw)},
    }
    # Of one length, whatever the picture's: all requests of a load have the same headers.
    asked = {"outputs": outputs} if outputs else {}
    head = json.dumps({"inputs": [described], **asked}).encode().ljust(_HEAD_BYTES)
    return Packed(
        body=head + raw,
        headers={
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        },
    )


def _json(content: object) -> Packed:
    body = json.dumps(content).encode()
    return Packed(body=body, headers={"Content-Type": "application/json"})


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
