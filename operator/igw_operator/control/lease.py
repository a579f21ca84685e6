"""The leader lease: one active operator at a time, and an end to the one that lost it.

Times and rules are client-go's (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection):
who holds the lease renews it within a deadline shorter than its duration, and every request
is bounded, so that a hung API server cannot make two leaders. Losing it raises; the process
ends, and the next one starts from nothing. An orderly end releases the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from igw_operator.act.api import Api
from igw_operator.api.objects import Manifest
from igw_operator.errors import ApiError, IgwError

_NOT_FOUND: Final = 404

_log = structlog.get_logger(__name__)


class LeaseLostError(IgwError):
    """Somebody else may be active now; this process has to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Where the lease is, and its times in seconds."""

    namespace: str
    name: str = "igw-operator"
    identity: str
    duration_seconds: float = 15.0
    deadline_seconds: float = 10.0
    retry_seconds: float = 2.5


class Lease:
    """Holds, or waits for, the right to be the active operator."""

    def __init__(
        self,
        *,
        api: Api,
        settings: LeaseSettings,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._now = now
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
        self._seen: tuple[Any, ...] = ()
        self._seen_at = clock()

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        waiting_for: str | None = None
        while True:
            holder = await self._try_once()
            if holder == self._settings.identity:
                _log.info("Acquired the lease", identity=holder)
                return
            if holder and holder != waiting_for:
                _log.info("Waiting for the lease", holder=holder)
                waiting_for = holder
            await asyncio.sleep(self._settings.retry_seconds)

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLostError: another one holds it, or no renewal succeeded before the deadline.
        """
        renewed_at = self._clock()
        while True:
            await asyncio.sleep(self._settings.retry_seconds)
            left = renewed_at + self._settings.deadline_seconds - self._clock()
            holder: str | None = None
            if left > 0:
                try:
                    async with asyncio.timeout(left):
                        holder = await self._try_once()
                except TimeoutError:
                    left = 0.0
            if holder == self._settings.identity:
                renewed_at = self._clock()
            elif holder is not None or left <= 0:
                message = (
                    f"the lease is lost to {holder}" if holder else "the lease was not renewed"
                )
                raise LeaseLostError(message)

    async def release(self) -> None:
        """Let the next one take over at once; a failure only costs it the lease's duration."""
        try:
            async with asyncio.timeout(self._settings.retry_seconds):
                lease = await self._fetch()
                if lease and lease["spec"].get("holderIdentity") == self._settings.identity:
                    await self._put(lease, holder="")
        except (ApiError, TimeoutError) as error:
            _log.warning("Could not release the lease", error=str(error))

    async def _try_once(self) -> str | None:
        """Take or renew the lease; return who holds it, None where that could not be learnt."""
        try:
            lease = await self._fetch()
            if lease is None:
                await self._create()
                return self._settings.identity
            holder = lease["spec"].get("holderIdentity") or ""
            if holder not in {"", self._settings.identity} and not self._is_expired(lease):
                return str(holder)
            await self._put(lease, holder=self._settings.identity)
        except ApiError as error:
            _log.warning("Could not take or renew the lease", error=str(error))
            return None
        return self._settings.identity

    def _is_expired(self, lease: Manifest) -> bool:
        """Whether the holder was silent for its duration, by our clock: clocks differ."""
        spec = lease["spec"]
        seen = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
            return False
        duration = float(spec.get("leaseDurationSeconds") or self._settings.duration_seconds)
        return self._clock() - self._seen_at > duration

    async def _fetch(self) -> Manifest | None:
        try:
            return await self._api.request("GET", f"{self._collection}/{self._settings.name}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def _create(self) -> None:
        metadata = {"name": self._settings.name, "namespace": self._settings.namespace}
        spec = self._build_spec({}, self._settings.identity)
        await self._api.request("POST", self._collection, body=_build_lease(metadata, spec))

    async def _put(self, lease: Manifest, *, holder: str) -> None:
        # The version makes it a race that one of two can win.
        metadata = {
            name: lease["metadata"][name] for name in ("name", "namespace", "resourceVersion")
        }
        spec = self._build_spec(lease["spec"], holder)
        await self._api.request(
            "PUT",
            f"{self._collection}/{self._settings.name}",
            body=_build_lease(metadata, spec),
        )

    def _build_spec(self, before: Manifest, holder: str) -> Manifest:
        now = self._now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        changed = (before.get("holderIdentity") or "") != holder
        acquired = now if changed else before.get("acquireTime", now)
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self._settings.duration_seconds) if holder else 1,
            "acquireTime": acquired,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0)
            + (1 if changed and holder else 0),
        }


def _build_lease(metadata: Manifest, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }
