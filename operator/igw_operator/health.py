"""Answers the kubelet from the first moment: is the process alive, and is it of any use?

Made by ``running`` before it waits for the lease, because one that stands by is as healthy as
the one that is active: a probe that only the active one answers would restart the other for
ever. kopf's own endpoint opens too late for that.

``/healthz``: the process does its work, or waits for its turn. ``/readyz``: it is active and
watches, or stands by. Both answer with a JSON object of the role and every number probed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web

_BROKEN: Final = 503


class Role(StrEnum):
    """What the process is doing."""

    STARTING = "starting"  # it lists everything, or its watches are being opened
    STANDBY = "standby"  # another one holds the lease
    ACTIVE = "active"  # it watches, and the workers work


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One number that tells whether the process still does its work."""

    read: Callable[[], float]
    most: float
    """Above it the process is as good as dead."""


class Health:
    """The process's role and its probes, and the endpoint that tells them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._probes: Mapping[str, Probe] = {}
        self._runner: web.AppRunner | None = None
        self.role = Role.STARTING

    def watch_over(self, probes: Mapping[str, Probe]) -> None:
        """Ask these from now on."""
        self._probes = probes

    async def start(self) -> None:
        """Serve; port 0 means not at all."""
        if not self._port:
            return
        app = web.Application()
        app.router.add_get("/healthz", self._answer_alive)
        app.router.add_get("/readyz", self._answer_ready)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port, shutdown_timeout=1.0).start()

    async def stop(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def failing(self) -> list[str]:
        """The probes that read more than they may."""
        return [name for name, probe in self._probes.items() if probe.read() > probe.most]

    async def _answer_alive(self, _: web.Request) -> web.Response:
        return self._answer(is_well=not self.failing())

    async def _answer_ready(self, _: web.Request) -> web.Response:
        return self._answer(is_well=self.role is not Role.STARTING)

    def _answer(self, *, is_well: bool) -> web.Response:
        numbers = {name: round(probe.read(), 3) for name, probe in self._probes.items()}
        body = {"role": self.role.value, "failing": self.failing(), **numbers}
        return web.json_response(body, status=200 if is_well else _BROKEN)
