"""Which optional APIs the cluster serves, asked again every minute and when a CRD changes.

An API that comes or goes is no error: gateways are judged and built with what is there.
An answer that is neither yes nor no (a timeout, a 503) changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from igw_operator import kinds
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.plan.inputs import Capabilities
from igw_operator.world.client import ApiClient

_MONITORING: Final = "/apis/monitoring.coreos.com/v1"
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
        served = {
            kinds.SERVICE_MONITOR: self.current.service_monitors,
            kinds.PROMETHEUS_RULE: self.current.prometheus_rules,
        }
        return served.get(resource, True)

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
        monitoring = await self._ask(_MONITORING)
        custom_metrics = await self._ask(_CUSTOM_METRICS)
        self._is_sure = monitoring is not None and custom_metrics is not None
        before = self.current
        if monitoring is not None:
            monitors = kinds.SERVICE_MONITOR.plural in monitoring.plurals
            rules = kinds.PROMETHEUS_RULE.plural in monitoring.plurals
        else:
            monitors, rules = before.service_monitors, before.prometheus_rules
        self.current = Capabilities(
            service_monitors=monitors,
            prometheus_rules=rules,
            custom_metrics=custom_metrics.served if custom_metrics else before.custom_metrics,
        )
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
