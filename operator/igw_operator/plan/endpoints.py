"""Where pods connect to, taken apart: which port an address names."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from igw_operator.conventions import PORT_OTLP_GRPC
from igw_operator.errors import FieldError, SpecError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def parse_http_port(url: str, path: str) -> int:
    """The port of the http or https URL that the field at ``path`` holds."""
    return _parse_port(url, _DEFAULT_PORTS[urlsplit(url).scheme], path)


def parse_grpc_port(address: str) -> int:
    """The port of a trace backend's ``host:port``."""
    url = address if "://" in address else f"//{address}"
    return _parse_port(url, PORT_OTLP_GRPC, "spec.observability.tracing.endpoint")


def _parse_port(url: str, default: int, path: str) -> int:
    try:
        return urlsplit(url).port or default
    except ValueError as error:
        raise SpecError([FieldError(path, f"has no valid port: {error}")]) from error
