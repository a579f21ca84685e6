"""From a request body to image bytes: content encoding, multipart form, JSON, or raw.

Runs in a worker thread, on bodies that admission already bounded; what a body expands to is
bounded again here.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Callable
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from igw_runtime.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    NoBodyError,
    UnsupportedFormatError,
)
from igw_runtime.serving.jobs import ImagePayload

# The last one is what `curl --data-binary` says when nobody tells it otherwise.
RAW_TYPES: Final = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
FIELD_NAMES: Final = (b"file", b"image")
_ACCEPTED: Final = "image/*, application/octet-stream, multipart/form-data, application/json"
# Nested numbers of the largest body that is accepted by default have a tenth of that. Each list
# costs 64 bytes and a share of the garbage collector's passes: ten megabytes of "[]," took 1.5 s,
# with the interpreter locked, and 200 MB.
MAX_JSON_CONTAINERS: Final = 262_144
_GZIP: Final = 16 + zlib.MAX_WBITS
_MAX_GZIP_MEMBERS: Final = 64  # each copies what is left: a bound on quadratic work


def check_content_type(content_type: str, content_encoding: str) -> None:
    """Refuse what cannot hold an image, before its body is read."""
    media = parse_media_type(content_type)
    served = media in RAW_TYPES or media.startswith("image/")
    if not served and media not in {"multipart/form-data", "application/json"}:
        message = f"content type {media[:80]!r} is not served; send one of: {_ACCEPTED}"
        raise UnsupportedFormatError(message, headers={"Accept": _ACCEPTED})
    check_content_encoding(content_encoding)


def check_content_encoding(content_encoding: str) -> None:
    """Refuse a compression that is not undone here."""
    if content_encoding.strip().lower() not in {"", "identity", "gzip"}:
        message = f"content encoding {content_encoding[:80]!r} is not served; send gzip or none"
        raise UnsupportedFormatError(message, headers={"Accept-Encoding": "gzip"})


def parse_media_type(content_type: str) -> str:
    """Return the type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def extract_image(payload: ImagePayload, max_bytes: int) -> bytes:
    """Return the bytes of the one image in the body."""
    body = expand(payload, max_bytes)
    if not body:
        message = 'send an image as the body, as a form file, or as JSON {"image": base64}'
        raise NoBodyError(message)
    media = parse_media_type(payload.content_type)
    if media == "multipart/form-data":
        return _extract_form_file(body, payload.content_type)
    if media == "application/json":
        return _extract_json_image(body)
    return body


def expand(payload: ImagePayload, max_bytes: int) -> bytes:
    """Undo gzip, stopping as soon as the limit is passed."""
    if payload.content_encoding.strip().lower() != "gzip":
        return payload.body
    body, rest, members = bytearray(), payload.body, 0
    while rest and members < _MAX_GZIP_MEMBERS:
        inflater = zlib.decompressobj(_GZIP)
        try:
            body += inflater.decompress(rest, max_bytes + 1 - len(body))
        except zlib.error as error:
            message = f"the body is not gzip: {error}"
            raise MalformedRequestError(message) from error
        if len(body) > max_bytes:
            message = f"the body decompresses to more than {max_bytes} bytes"
            raise BodyTooLargeError(message)
        if not inflater.eof:
            message = "the gzip body is cut short"
            raise MalformedRequestError(message)
        rest, members = inflater.unused_data, members + 1
    if rest:
        message = f"the gzip body has more than {_MAX_GZIP_MEMBERS} members"
        raise MalformedRequestError(message)
    return bytes(body)


def decode_base64(text: str) -> bytes:
    """Decode standard base64, with or without a data: prefix."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"not base64: {error}"
        raise MalformedRequestError(message) from error


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object, unless it is a bomb of empty lists."""
    if body.count(b"[") + body.count(b"{") > MAX_JSON_CONTAINERS:
        message = f"the JSON has more than {MAX_JSON_CONTAINERS} lists and objects"
        raise MalformedRequestError(message)
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"the body is not JSON: {error}"
        raise MalformedRequestError(message) from error
    if not isinstance(parsed, dict):
        message = "the body must be a JSON object"
        raise MalformedRequestError(message)
    return parsed


def _extract_json_image(body: bytes) -> bytes:
    image = parse_json_object(body).get("image")
    if not isinstance(image, str) or not image:
        message = 'the JSON body needs a base64 string under "image"'
        raise MalformedRequestError(message)
    return decode_base64(image)


class _FormReader:
    """Collects the first file of a form; the parser only calls back with slices."""

    def __init__(self) -> None:
        self.found: bytes | None = None
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what the parser wants to call."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def _end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        is_file = b"filename" in options or options.get(b"name") in FIELD_NAMES
        if self.found is None and is_file:
            self.found = bytes(self._data)


def _extract_form_file(body: bytes, content_type: str) -> bytes:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        message = "multipart/form-data needs a boundary"
        raise MalformedRequestError(message)
    reader = _FormReader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())  # type: ignore[arg-type]  # its TypedDict names the same keys
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        message = f"the form does not parse: {error}"
        raise MalformedRequestError(message) from error
    if reader.found is None:
        message = 'the form has no file; send one under "file"'
        raise MalformedRequestError(message)
    if not reader.found:
        message = "the form's file is empty"
        raise NoBodyError(message)
    return reader.found
