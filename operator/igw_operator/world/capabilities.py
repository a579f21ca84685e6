"""Which optional APIs the cluster serves, asked again every minute and when a CRD changes.

An API that comes or goes is no error: gateways are judged and built with what is there.
An answer that is neither yes nor no (a timeout, a 503) changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import structlog

from igw_operator import kinds
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.plan.inputs import Capabilities
from igw_operator.world.client import ApiClient

_BY_FIELD: Final[Mapping[str, Resource]] = {
    "service_monitors": kinds.SERVICE_MONITOR,
    "prometheus_rules": kinds.PROMETHEUS_RULE,
    "http_routes": kinds.HTTP_ROUTE,
}
"""Fields of `Capabilities` that say whether a kind is served."""
_CUSTOM_METRICS: Final = "/apis/custom.metrics.k8s.io"
_NOT_SERVED: Final = 404
_SETTLE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 2.0
_ATTEMPTS: Final = 10

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    served: bool
    plurals: frozenset[str] = frozenset()


class CapabilityWatch:
    """Knows the capabilities of the moment and tells when they change."""

    def __init__(
        self,
        *,
        api: ApiClient,
        interval_seconds: float,
        on_change: Callable[[Capabilities], None],
    ) -> None:
        self.current = Capabilities()
        self._api = api
        self._interval_seconds = interval_seconds
        self._on_change = on_change
        self._hint = asyncio.Event()
        self._is_sure = False

    def hint(self) -> None:
        """Ask again soon: a CRD has changed."""
        self._hint.set()

    def serves(self, resource: Resource) -> bool:
        """Whether the API of a kind is there; every kind that is not optional is."""
        field = next((name for name, it in _BY_FIELD.items() if it is resource), None)
        return field is None or bool(getattr(self.current, field))

    async def prime(self) -> None:
        """Ask until each API's answer is yes or no.

        Else a server that stumbles as we start would have autoscalers written without their
        custom metrics, and every gateway say that there is no Prometheus Operator. The wait
        ends, because an aggregated API may be broken for long.
        """
        for _ in range(_ATTEMPTS):
            await self.refresh()
            if self._is_sure:
                return
            await asyncio.sleep(_RETRY_SECONDS)
        _log.warning("Could not learn which optional APIs there are")

    async def refresh(self) -> bool:
        """Ask the API server; say whether anything changed."""
        before = self.current
        known = asdict(before)
        answers = {
            path: await self._ask(path)
            for path in sorted({_group_path(resource) for resource in _BY_FIELD.values()})
        }
        for field, resource in _BY_FIELD.items():
            if (answer := answers[_group_path(resource)]) is not None:
                known[field] = resource.plural in answer.plurals
        answers[_CUSTOM_METRICS] = custom_metrics = await self._ask(_CUSTOM_METRICS)
        if custom_metrics is not None:
            known["custom_metrics"] = custom_metrics.served
        self._is_sure = None not in answers.values()
        self.current = Capabilities(**known)
        return self.current != before

    async def run(self) -> None:
        """Ask again and again."""
        while True:
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await self._hint.wait()
                # A CRD is announced before its API is served.
                await asyncio.sleep(_SETTLE_SECONDS)
            except TimeoutError:
                pass
            self._hint.clear()
            if await self.refresh():
                _log.info("Found other optional APIs", capabilities=str(self.current))
                self._on_change(self.current)

    async def _ask(self, path: str) -> _Answer | None:
        try:
            answer = await self._api.request("GET", path)
        except ApiError as error:
            return _Answer(served=False) if error.status == _NOT_SERVED else None
        plurals = frozenset(item["name"] for item in answer.get("resources") or ())
        return _Answer(served=True, plurals=plurals)


def _group_path(resource: Resource) -> str:
    return f"/apis/{resource.api_version}"
