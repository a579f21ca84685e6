"""kopf's part: it logs in and watches our own kinds; nothing else.

Only ``@kopf.on.event`` handlers, which never write: every other kind of handler would add
finalizers, annotations or patches of its own to the users' objects. Each event goes to
``control.intake``. Besides ``running``, the only module that knows kopf.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import kopf

from igw_operator import kinds
from igw_operator.api.objects import Manifest
from igw_operator.kinds import Resource
from igw_operator.world.connection import Connection

OnEvent = Callable[[Resource, str | None, Manifest], None]

_OPTIONAL_GROUPS: Final = frozenset(it.group for it in kinds.WATCHED if it.optional)
_PATIENCE_SECONDS: Final = 600.0
_LONGEST_BACKOFF_SECONDS: Final = 30.0


class Backoffs:
    """Delays between retries of kopf's own requests: ten minutes' worth, then it gives up.

    kopf iterates this anew for each request, so it must be a class and not a generator.
    When it gives up the process ends, and the kubelet starts a new one.
    """

    def __iter__(self) -> Iterator[float]:
        delay, total = 0.5, 0.0
        while total < _PATIENCE_SECONDS:
            jittered = delay * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            yield jittered
            total += jittered
            delay = min(delay * 2, _LONGEST_BACKOFF_SECONDS)


class NoDiffBase(kopf.DiffBaseStorage):
    """Tells kopf that there is never anything to compare.

    By default it copies each object several times over, to find out what `on.update` handlers
    would have to be told. We have none, and that was half of what an event costs.
    """

    def build(self, **_: Any) -> Any:
        """Take nothing of an object."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Know no earlier state."""

    def store(self, **_: Any) -> None:
        """Never called: there is no handler that could have finished."""


def build_registry(
    *,
    connection: Connection,
    on_event: OnEvent,
    on_crd: Callable[[], None],
    on_start: Callable[[], None],
    on_end: Callable[[], None],
) -> kopf.OperatorRegistry:
    """Every handler that kopf calls; ``on_end`` when it begins to end, whatever made it."""
    registry = kopf.OperatorRegistry()
    _register_start(registry, on_start)
    _register_end(registry, on_end)
    _register_login(registry, connection)
    for resource in kinds.OWN:
        _register_watch(registry, resource, on_event)
    _register_crds(registry, on_crd)
    return registry


def build_settings() -> kopf.OperatorSettings:
    """Settings of kopf; the reasons are in ``docs/adr``."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # the lease decides who is active
    settings.posting.enabled = False  # events are ours to post
    settings.queueing.worker_limit = None  # a limit below the number of objects stalls the start
    # For so long kopf keeps a task and the last event of each object: at the start, of all.
    settings.queueing.idle_timeout = 0.2
    settings.persistence.diffbase_storage = NoDiffBase()
    # It would also kill the process when kopf has failed and begun anew; the kubelet kills too.
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = Backoffs()
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    return settings


def _register_login(registry: kopf.OperatorRegistry, connection: Connection) -> None:
    @kopf.on.login(registry=registry, id="login", retries=3)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        endpoint = connection.endpoint
        return kopf.ConnectionInfo(
            server=endpoint.server,
            ca_path=endpoint.ca_file,
            insecure=endpoint.insecure,
            certificate_path=endpoint.certificate_file,
            private_key_path=endpoint.key_file,
            token=await connection.token(fresh=True),
        )


def _register_start(registry: kopf.OperatorRegistry, on_start: Callable[[], None]) -> None:
    @kopf.on.startup(registry=registry, id="start")
    async def start(**_: Any) -> None:
        on_start()


def _register_end(registry: kopf.OperatorRegistry, on_end: Callable[[], None]) -> None:
    @kopf.on.cleanup(registry=registry, id="end")
    async def end(**_: Any) -> None:
        on_end()


def _register_watch(registry: kopf.OperatorRegistry, resource: Resource, on_event: OnEvent) -> None:
    @kopf.on.event(
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        registry=registry,
        id=resource.plural,
    )
    async def watch(event: Any, **_: Any) -> None:
        on_event(resource, event["type"], dict(event["object"]))


def _register_crds(registry: kopf.OperatorRegistry, on_crd: Callable[[], None]) -> None:
    @kopf.on.event(
        group="apiextensions.k8s.io",
        version="v1",
        plural="customresourcedefinitions",
        registry=registry,
        id="crds",
    )
    async def watch(event: Any, **_: Any) -> None:
        if event["object"]["spec"]["group"] in _OPTIONAL_GROUPS:
            on_crd()
