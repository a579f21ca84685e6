"""What an Alertmanager says of the alerts that it has, and whether it is one to ask.

Pure; ``world.prometheus`` asks, at the addresses that a Prometheus itself sends alerts to.
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

# Where alerts are posted to, and where they can be read.
_PATH: Final = "/api/v2/alerts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAlert:
    """One alert that an Alertmanager has."""

    labels: Mapping[str, str]
    updated_at: datetime
    """When it was received last, by the Alertmanager's own clock."""
    receivers: tuple[str, ...]
    """Names of the receivers that its routes lead to."""
    kept_back: str = ""
    """Why nobody is notified of it; empty: nothing keeps it back."""


def find_problem(address: str, *, is_trusted: bool) -> str:
    """Why the address of an Alertmanager is not one to ask; empty: it is.

    ``is_trusted``: the Prometheus that named it was named in the operator's own settings. Whoever
    may create a Prometheus object must not send the operator anywhere else.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return "its address is none"
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        return "its address is none"
    if not parts.path.endswith(_PATH) or parts.query or parts.fragment:
        return f"its address does not end with {_PATH}"
    if not is_trusted and _is_near(host):
        return "its address is one of the operator's own node"
    return ""


def name_alertmanager(address: str) -> str:
    """How messages call the Alertmanager whose alerts are at an address."""
    return address.removesuffix(_PATH)


def parse_alerts(data: Any) -> list[ReceivedAlert]:
    """The alerts of an answer, but for those that were not looked at yet."""
    if not isinstance(data, list):
        message = "no list"
        raise TypeError(message)
    return [_parse_alert(alert) for alert in data if alert["status"]["state"] != "unprocessed"]


def _parse_alert(alert: Any) -> ReceivedAlert:
    status = alert["status"]
    return ReceivedAlert(
        labels={str(name): str(value) for name, value in alert["labels"].items()},
        updated_at=_parse_time(alert["updatedAt"]),
        receivers=tuple(sorted(str(it["name"]) for it in alert["receivers"])),
        kept_back=_find_hindrance(status) if status["state"] == "suppressed" else "",
    )


def _find_hindrance(status: Mapping[str, Any]) -> str:
    if silences := status.get("silencedBy"):
        return f"silenced by {silences[0]}"
    return "inhibited by another alert" if status.get("inhibitedBy") else "muted at this time"


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        message = f"{text} has no zone"
        raise ValueError(message)
    return time


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified
