"""Ask two servers the same thing, and reduce what they say to what the protocol promises."""

import gzip
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_LENGTH: Final = "Inference-Header-Content-Length"
_DIGITS: Final = 4
Outputs = dict[str, tuple[str, list[int], list[Any], bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server listens on loopback."""

    http: int
    grpc: int

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> "Said":
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=20)
        connection.request(method, path, body or None, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.headers["Content-Encoding"] == "gzip":
            content = gzip.decompress(content)
        return Said(
            status=response.status,
            content=content,
            header_length=response.headers[_LENGTH],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer, its content decompressed."""

    status: int
    content: bytes
    header_length: str | None

    def json(self) -> Any:
        """Return the JSON object, without the tensors that may follow it."""
        end = len(self.content) if self.header_length is None else int(self.header_length)
        return json.loads(self.content[:end])

    def outputs(self) -> Outputs:
        """Return type, shape, elements and form of each output."""
        rest = b"" if self.header_length is None else self.content[int(self.header_length) :]
        outputs: Outputs = {}
        for entry in self.json()["outputs"]:
            size = entry.get("parameters", {}).get("binary_data_size")
            raw, rest = (None, rest) if size is None else (rest[:size], rest[size:])
            elements = entry["data"] if raw is None else _read_raw(entry["datatype"], raw)
            rounded = [round(e, _DIGITS) if isinstance(e, float) else e for e in elements]
            outputs[entry["name"]] = (entry["datatype"], entry["shape"], rounded, raw is not None)
        assert rest == b""
        return outputs

    def is_refusal(self) -> bool:
        """Tell whether it is what every client of the protocol parses as an error."""
        if not 400 <= self.status < 600:
            return False
        error = self.json()
        return list(error) == ["error"] and isinstance(error["error"], str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Our server and the reference, of the same model."""

    ours: Server
    theirs: Server

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Said, Said]:
        """Ask both the same; return what we said and what they said."""
        return (
            self.ours.ask(method, path, body, headers),
            self.theirs.ask(method, path, body, headers),
        )


def _read_raw(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "FP32":
        return list(np.frombuffer(raw, "<f4").tolist())
    elements = []
    while raw:
        length = int.from_bytes(raw[:4], "little")
        elements.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return elements
