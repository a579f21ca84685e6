"""The operator's settings: environment variables ``IGW_…``, read once, at start.

``__main__`` reads them and hands the parts to those who need them. Each error names its
variable. What concerns one gateway is in its spec, never here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from igw_operator.errors import FieldError, IgwError
from igw_operator.plan.inputs import Defaults

ValueT = TypeVar("ValueT")

_PREFIX: Final = "IGW_"
_LEVELS: Final = ("debug", "info", "warning", "error")
_MOST_PORT: Final = 65535
_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?=[-A-Za-z0-9_.]*")


class SettingsError(IgwError):
    """Environment variables that say something impossible."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the whole operator is told."""

    log_level: str = "info"
    """``IGW_LOG_LEVEL``: debug, info, warning or error."""
    workers: int = 16
    """``IGW_WORKERS``: gateways worked on at the same time, at most 64."""
    resync_seconds: float = 600.0
    """``IGW_RESYNC_SECONDS``: how often everything is listed anew."""
    capabilities_seconds: float = 60.0
    """``IGW_CAPABILITIES_SECONDS``: how often optional APIs are looked for."""
    monitoring_seconds: float = 30.0
    """``IGW_MONITORING_SECONDS``: how often Prometheus is asked about all gateways."""
    request_timeout_seconds: float = 15.0
    """``IGW_REQUEST_TIMEOUT_SECONDS``: longest wait for one answer of the API server."""
    metrics_port: int = 9090
    """``IGW_METRICS_PORT``: port of /metrics; 0: none."""
    health_port: int = 8080
    """``IGW_HEALTH_PORT``: port of /healthz; 0: none."""
    lease: bool = True
    """``IGW_LEASE``: whether only the holder of a lease is active."""
    namespace: str = "igw-system"
    """``IGW_NAMESPACE``: where the lease is."""
    identity: str = ""
    """``IGW_IDENTITY``: the name of this process, such as its pod's."""
    defaults: Defaults = field(default_factory=Defaults)
    """``IGW_MONITOR_LABELS`` (``name=value,…``), ``IGW_RUNBOOK_BASE_URL``, ``IGW_GRAFANA_URL``,
    ``IGW_PROMETHEUS_URL``, ``IGW_MONITORING_NAMESPACES`` (``name,…``),
    ``IGW_PROXY_NAMESPACES`` (``name,…``)."""
    unknown: tuple[str, ...] = ()
    """Variables with our prefix that mean nothing here; worth a warning."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of the environment.

    Raises:
        SettingsError: with one entry per variable at fault.
    """
    reader = _Reader(environment)
    settings = Settings(
        log_level=reader.read("LOG_LEVEL", "info", _parse_level),
        workers=reader.read("WORKERS", 16, _parse_number(1, 64)),
        resync_seconds=reader.read("RESYNC_SECONDS", 600.0, _parse_seconds(5)),
        capabilities_seconds=reader.read("CAPABILITIES_SECONDS", 60.0, _parse_seconds(1)),
        monitoring_seconds=reader.read("MONITORING_SECONDS", 30.0, _parse_seconds(1)),
        request_timeout_seconds=reader.read("REQUEST_TIMEOUT_SECONDS", 15.0, _parse_seconds(1)),
        metrics_port=reader.read("METRICS_PORT", 9090, _parse_number(0, _MOST_PORT)),
        health_port=reader.read("HEALTH_PORT", 8080, _parse_number(0, _MOST_PORT)),
        lease=reader.read("LEASE", default=True, parse=_parse_switch),
        namespace=reader.read("NAMESPACE", "igw-system", str),
        identity=reader.read("IDENTITY", "", str),
        defaults=Defaults(
            monitor_labels=reader.read("MONITOR_LABELS", {}, _parse_labels),
            runbook_base_url=reader.read("RUNBOOK_BASE_URL", "", _parse_base),
            grafana_url=reader.read("GRAFANA_URL", "", _parse_base),
            prometheus_url=reader.read("PROMETHEUS_URL", "", _parse_url),
            monitoring_namespaces=reader.read("MONITORING_NAMESPACES", (), _parse_names),
            proxy_namespaces=reader.read("PROXY_NAMESPACES", (), _parse_names),
        ),
    )
    if reader.errors:
        raise SettingsError(reader.errors)
    return replace(settings, unknown=reader.find_unknown())


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._known: set[str] = set()
        self.errors: list[FieldError] = []

    def read(self, name: str, default: ValueT, parse: Callable[[str], ValueT]) -> ValueT:
        """One variable; an empty one counts as absent."""
        variable = _PREFIX + name
        self._known.add(variable)
        text = self._environment.get(variable, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.errors.append(FieldError(variable, f"{error}, not {text!r}"))
            return default

    def find_unknown(self) -> tuple[str, ...]:
        """Variables that were never read: a misspelt one would else go unnoticed."""
        ours = (name for name in self._environment if name.startswith(_PREFIX))
        return tuple(sorted(set(ours) - self._known))


def _parse_level(text: str) -> str:
    if text.lower() not in _LEVELS:
        message = f"must be one of {', '.join(_LEVELS)}"
        raise ValueError(message)
    return text.lower()


def _parse_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        message = f"must be a whole number from {least} to {most}"
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(message)
        return int(text)

    return parse


def _parse_seconds(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        message = f"must be a number of seconds, at least {least:g}"
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) < least:
            raise ValueError(message)
        return float(text)

    return parse


def _parse_switch(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        message = "must be true or false"
        raise ValueError(message)
    return text.lower() == "true"


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parse_labels(text: str) -> dict[str, str]:
    pairs = _parse_names(text)
    if not all(_LABEL.fullmatch(pair) for pair in pairs):
        message = "must be labels such as release=prometheus,team=vision"
        raise ValueError(message)
    return dict(pair.split("=", 1) for pair in pairs)


def _parse_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/ ]+\S*", text):
        message = "must be an http or https URL"
        raise ValueError(message)
    return text


def _parse_base(text: str) -> str:
    return _parse_url(text).rstrip("/")
