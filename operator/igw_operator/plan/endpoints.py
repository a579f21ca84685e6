"""Where telemetry goes and models come from, taken apart: which port an address names."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from igw_operator.conventions import PORT_OTLP_GRPC
from igw_operator.errors import FieldError, SpecError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def parse_http_port(url: str) -> int:
    """The port of an external collector's URL."""
    default = _DEFAULT_PORTS[urlsplit(url).scheme]
    return _parse_port(url, default, "spec.observability.collector.endpoint")


def parse_grpc_port(address: str) -> int:
    """The port of a trace backend's ``host:port``."""
    url = address if "://" in address else f"//{address}"
    return _parse_port(url, PORT_OTLP_GRPC, "spec.observability.tracing.endpoint")


def parse_store_port(url: str, path: str) -> int:
    """The port of the URL that stands at the spec's path."""
    return _parse_port(url, _DEFAULT_PORTS[url.partition(":")[0]], path)


def _parse_port(url: str, default: int, path: str) -> int:
    try:
        return urlsplit(url).port or default
    except ValueError as error:
        raise SpecError([FieldError(path, f"has no valid port: {error}")]) from error
