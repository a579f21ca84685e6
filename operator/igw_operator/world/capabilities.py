"""Which optional APIs the cluster serves, asked again every minute and when a CRD changes.

An API that comes or goes is no error: gateways are judged and built with what is there.
An answer that is neither yes nor no (a timeout, a 503) changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from igw_operator import conventions, kinds
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.plan.inputs import Capabilities
from igw_operator.world.client import ApiClient

_BY_FIELD: Final[Mapping[str, Resource]] = {
    "service_monitors": kinds.SERVICE_MONITOR,
    "prometheus_rules": kinds.PROMETHEUS_RULE,
    "prometheuses": kinds.PROMETHEUS,
    "http_routes": kinds.HTTP_ROUTE,
    "scaled_objects": kinds.SCALED_OBJECT,
    "otel_collectors": kinds.OTEL_COLLECTOR,
}
"""Fields of `Capabilities` that say whether a kind is served."""
_FIELDS: Final[Mapping[Resource, str]] = {
    **{resource: field for field, resource in _BY_FIELD.items()},
    kinds.PARENT_GATEWAY: "http_routes",  # one API serves both
}
_CUSTOM_METRICS: Final = "/apis/custom.metrics.k8s.io"
_PODS_METRICS: Final = (conventions.METRIC_REQUESTS_PER_SECOND, conventions.METRIC_QUEUE_SIZE)
_NOT_SERVED: Final = 404
_SETTLE_SECONDS: Final = 1.0
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 8.0
_ATTEMPTS: Final = 8

_log = structlog.get_logger(__name__)


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
        self._answered: set[str] = set()

    def hint(self) -> None:
        """Ask again soon: a CRD has changed."""
        self._hint.set()

    def serves(self, resource: Resource) -> bool:
        """Whether the API of a kind is there; every kind that is not optional is."""
        field = _FIELDS.get(resource)
        return field is None or bool(getattr(self.current, field))

    async def prime(self) -> None:
        """Ask until each API's answer is yes or no.

        Else a server that stumbles as we start would have autoscalers written without their
        custom metrics, and every gateway say that there is no Prometheus Operator. The wait
        ends, because an aggregated API may be broken for long.
        """
        pause = _FIRST_RETRY_SECONDS
        for _ in range(_ATTEMPTS):
            await self.refresh()
            if self._is_sure:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
        _log.warning("Could not learn which optional APIs there are")

    async def refresh(self) -> bool:
        """Ask the API server; say whether anything changed."""
        before = self.current
        learnt = await self._ask_kinds() | await self._ask_metrics()
        certain = {field: value for field, value in learnt.items() if value is not None}
        # Each was answered at some time: to ask for all anew would never end where some fail.
        self._answered |= certain.keys()
        self._is_sure = learnt.keys() <= self._answered
        self.current = replace(before, **certain)
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

    async def _ask_kinds(self) -> dict[str, bool | None]:
        """Whether each optional kind is served, by field; None: nobody knows."""
        paths = sorted({_group_path(resource) for resource in _BY_FIELD.values()})
        names = {path: await self._ask(path) for path in paths}
        answers = {field: names[_group_path(resource)] for field, resource in _BY_FIELD.items()}
        return {
            field: None if (plurals := answers[field]) is None else resource.plural in plurals
            for field, resource in _BY_FIELD.items()
        }

    async def _ask_metrics(self) -> dict[str, Any]:
        """Whether there is a custom metrics API, and which of our metrics it lists.

        An adapter that is down leaves its API registered, and answers 503 for its metrics.
        """
        versions = await self._ask(_CUSTOM_METRICS)
        if versions is None:
            return {"custom_metrics": None, "pods_metrics": None}
        listed: set[str] = set()
        for version in sorted(versions):
            if (names := await self._ask(f"{_CUSTOM_METRICS}/{version}")) is None:
                return {"custom_metrics": True, "pods_metrics": None}
            listed |= names
        ours = frozenset(metric for metric in _PODS_METRICS if f"pods/{metric}" in listed)
        return {"custom_metrics": bool(versions), "pods_metrics": ours}

    async def _ask(self, path: str) -> frozenset[str] | None:
        """Names of a group's versions, or of a version's resources; None: nobody knows."""
        try:
            answer = await self._api.request("GET", path)
        except ApiError as error:
            return frozenset() if error.status == _NOT_SERVED else None
        versions = (item["version"] for item in answer.get("versions") or ())
        resources = (item["name"] for item in answer.get("resources") or ())
        return frozenset([*versions, *resources])


def _group_path(resource: Resource) -> str:
    return f"/apis/{resource.api_version}"
