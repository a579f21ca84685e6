"""The audit log of a busy API server, read bit by bit: who wrote what, and when.

`Cluster.writes` reads the whole file each time, which is fine for a dozen gateways.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from integration.cluster import OPERATOR_USER

_LEASES: Final = b'"resource":"leases"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One write that the API server accepted."""

    time: float
    """Seconds since 1970 when it was answered."""
    verb: str
    resource: str
    """With the subresource: ``deployments/status``."""
    namespace: str
    name: str
    code: int


class AuditLog:
    """The operator's writes."""

    def __init__(self, path: Path, user: str = OPERATOR_USER) -> None:
        self._path = path
        self._user = f'"username":"{user}"'.encode()

    def mark(self) -> int:
        """Now, as a place in the log."""
        return self._path.stat().st_size

    def since(self, mark: int) -> Iterator[Entry]:
        """Every write since then, whatever its answer was; leases do not count."""
        with self._path.open("rb") as log:
            log.seek(mark)
            for line in log:
                if self._user in line and _LEASES not in line and line.endswith(b"\n"):
                    yield _parse(line)


def count_by_kind(entries: Iterator[Entry]) -> Counter[tuple[str, str]]:
    """How many writes succeeded, by verb and resource."""
    return Counter((it.verb, it.resource) for it in entries if it.code < 300)


def _parse(line: bytes) -> Entry:
    entry = json.loads(line)
    about = entry.get("objectRef") or {}
    parts = (about.get("resource", ""), about.get("subresource", ""))
    return Entry(
        time=datetime.fromisoformat(entry["stageTimestamp"]).timestamp(),
        verb=entry["verb"],
        resource="/".join(part for part in parts if part),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(entry.get("responseStatus") or {}).get("code", 0),
    )
