"""Which Prometheus servers there are to ask, and where: from their objects, or as we were told.

Pure; ``world.monitoring`` asks them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from igw_operator.api.objects import Manifest, ObjectKey
from igw_operator.judge.selection import name_of

# Whatever spec.portName calls it: the governing Service's port has this number.
_PORT: Final = 9090
_SERVICE: Final = "prometheus-operated"
_ADVICE: Final = "set IGW_PROMETHEUS_URL"
_DEFAULT_RETENTION: Final = "24h"  # the Prometheus Operator's, where no size limits it either
_UNITS: Final = {
    "y": timedelta(days=365),
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One Prometheus to ask."""

    name: str
    """As messages call it."""
    url: str = ""
    """Base of its API's paths; empty: there is none, and ``problem`` says why."""
    problem: str = ""
    manifest: Mapping[str, Any] | None = field(default=None, compare=False)
    """Its object; None where only an address is known."""

    def keeps_less_than(self, days: int) -> str:
        """Its retention where that is shorter than so many days; else, or not known: nothing."""
        spec = self._spec()
        if self.manifest is None or spec.get("thanos") or spec.get("remoteRead"):
            return ""
        text = spec.get("retention") or ("" if spec.get("retentionSize") else _DEFAULT_RETENTION)
        parts = re.findall(r"([0-9]+)(ms|y|w|d|h|m|s)", text)
        kept = sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta())
        return text if parts and kept < timedelta(days=days) else ""

    def overwrites_labels_of(self, monitor: ObjectKey) -> bool:
        """Whether it enforces the namespace label on what a ServiceMonitor scrapes."""
        spec = self._spec()
        if not spec.get("enforcedNamespaceLabel"):
            return False
        return not any(
            it.get("resource") == "servicemonitors"
            and it.get("namespace") == monitor.namespace
            and it.get("name") in {None, "", monitor.name}
            for it in spec.get("excludedFromEnforcement") or ()
        )

    def _spec(self) -> Mapping[str, Any]:
        return (self.manifest or {}).get("spec") or {}


def find_servers(prometheuses: Iterable[Manifest], address: str = "") -> list[Server]:
    """The server at the address that was told, or else one for each object."""
    if address:
        return [Server(name=f"Prometheus {_without_secrets(address)}", url=address.rstrip("/"))]
    objects = sorted(prometheuses, key=name_of)
    governed = Counter(_governing_service(it) for it in objects)
    return [_describe(it, is_alone=governed[_governing_service(it)] == 1) for it in objects]


def _describe(prometheus: Manifest, *, is_alone: bool) -> Server:
    name, spec = name_of(prometheus), prometheus.get("spec") or {}
    if spec.get("listenLocal"):
        problem = f"its spec.listenLocal is true, so it answers nobody outside its pod: {_ADVICE}"
        return Server(name=name, problem=problem, manifest=prometheus)
    if (spec.get("shards") or 1) > 1:
        problem = (
            f"it has {spec['shards']} shards, and each knows a part only: {_ADVICE} to what asks "
            "all of them, such as Thanos Query"
        )
        return Server(name=name, problem=problem, manifest=prometheus)
    host = _governing_service(prometheus)
    if not is_alone:
        # The governing Service leads to the pods of all that share it.
        host = f"prometheus-{prometheus['metadata']['name']}-0.{host}"
    scheme = "https" if (spec.get("web") or {}).get("tlsConfig") else "http"
    prefix = "/" + (spec.get("routePrefix") or "/").strip("/")
    url = f"{scheme}://{host}:{_PORT}{prefix}".rstrip("/")
    return Server(name=name, url=url, manifest=prometheus)


def _governing_service(prometheus: Manifest) -> str:
    service = (prometheus.get("spec") or {}).get("serviceName") or _SERVICE
    return f"{service}.{prometheus['metadata']['namespace']}.svc"


def _without_secrets(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
