"""A clock that stands still and an API server that keeps objects, for the operator's own tests.

The fake knows server-side apply only as "what was applied is what is there", unless it is pinned
to another version: the real rules are tested against the real API server, in ``tests/integration``.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from igw_operator import kinds
from igw_operator.errors import ApiError

Manifest = dict[str, Any]
_COLLECTIONS = {resource.plural for resource in kinds.WATCHED}


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        """The same as a date."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class _NoWait(selectors.DefaultSelector):
    """Never waits: where nothing is ready, the clock jumps to when something is due."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.seconds += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once; for code without input and output."""

    def __init__(self) -> None:
        self._selector_without_wait = _NoWait()
        super().__init__(self._selector_without_wait)

    def time(self) -> float:
        """Seconds of its own."""
        return self._selector_without_wait.seconds


def run_in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end; hours take as long as what happens in them."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Manifest | None


@dataclass
class FakeApi:
    """Objects by path; `failures` answers instead where a (method, path) is in it."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    failures: dict[tuple[str, str], list[ApiError]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    version: int = 100
    clock: FakeClock | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    """How long a request of each method takes."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "",
    ) -> Manifest:
        """Answer as the API server would, roughly."""
        self.requests.append(Request(method, path, dict(query or {}), body))
        if self.clock is not None:
            self.clock.seconds += self.seconds.get(method, 0.0)
        if waiting := self.failures.get((method, path)):
            raise waiting.pop(0)
        if method == "GET":
            return self._find(path)
        if method == "DELETE":
            found = self._find(path)
            if found["metadata"].get("finalizers"):
                metadata = found["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}
                return self._store(path, "PUT", found | {"metadata": metadata}, "")
            del self.objects[path]
            return {"kind": "Status", "status": "Success"}
        if method == "POST":
            assert body is not None
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                message = f"{path} exists"
                raise ApiError(message, status=409, reason="AlreadyExists")
        return self._store(path, method, body or {}, content_type)

    def put(self, path: str, manifest: Manifest) -> Manifest:
        """Have an object there, with a version."""
        return self._store(path, "PUT", manifest, "")

    def writes(self) -> list[Request]:
        """The requests that change something."""
        return [request for request in self.requests if request.method != "GET"]

    def _find(self, path: str) -> Manifest:
        if path.rpartition("/")[2] in _COLLECTIONS:
            return {"items": [it for key, it in self.objects.items() if key.startswith(f"{path}/")]}
        if path not in self.objects:
            message = f"{path} not found"
            raise ApiError(message, status=404, reason="NotFound")
        return self.objects[path]

    def _store(self, path: str, method: str, body: Manifest, content_type: str) -> Manifest:
        before = self.objects.get(path.removesuffix("/status"), {})
        pinned = (body.get("metadata") or {}).get("resourceVersion")
        if before and "apply" in content_type and pinned not in {None, _version_of(before)}:
            message = f"{path} has been modified"
            raise ApiError(message, status=409, reason="Conflict")
        self.version += 1
        merged = _merge(before, body) if method == "PATCH" and "merge" in content_type else body
        metadata = {"uid": f"uid{path}", **merged.get("metadata", {})}
        metadata["resourceVersion"] = str(self.version)
        stored = {**merged, "metadata": metadata}
        self.objects[path.removesuffix("/status")] = stored
        return stored


def _version_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


def _merge(left: Manifest, right: Manifest) -> Manifest:
    merged = dict(left)
    for key, value in right.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged
