import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from igw_operator import kinds
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
from igw_operator.metrics import Metrics
from igw_operator.world import watches
from igw_operator.world.cache import Cache
from igw_operator.world.client import Page
from igw_operator.world.resync import Resync
from igw_operator.world.watches import FOLLOWED, Watches
from operator_fakes import FakeClock

Script = list[dict[str, Any]] | ApiError
GONE = ApiError("too old", status=410, reason="Expired")


def a_service(name: str, version: int) -> dict[str, Any]:
    """A Service at some version."""
    metadata = {"name": name, "namespace": "demo", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


def an_event(kind: str, name: str, version: int) -> dict[str, Any]:
    """One line of a watch."""
    return {"type": kind, "object": a_service(name, version)}


class FakeWatchApi:
    """Plays one script for each watch of Services, then says nothing more."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[int] = []
        self.listed = 0
        self.is_over = asyncio.Event()

    async def fetch_pages(self, resource: Resource) -> AsyncIterator[Page]:
        """There are none, at the versions 100, 200 and so on."""
        self.listed += resource is kinds.SERVICE
        yield Page(items=[], resource_version=100 * self.listed, is_last=True)

    async def watch(self, resource: Resource, version: int) -> AsyncIterator[dict[str, Any]]:
        """What the script says."""
        if resource is kinds.SERVICE:
            self.asked.append(version)
            script: Script = self.scripts.pop(0) if self.scripts else []
            if isinstance(script, ApiError):
                raise script
            for event in script:
                yield event
            if self.scripts:
                return
        if resource is kinds.SERVICE:
            self.is_over.set()
        await asyncio.sleep(3600)


class Harness:
    """The watches on a fake API server."""

    def __init__(self, api: FakeWatchApi, *, without: Resource | None = None) -> None:
        self.cache = Cache()
        self.told: list[tuple[str, str]] = []
        self.pauses: list[float] = []
        self.served = {it for it in kinds.WATCHED if it is not without}
        anything: Any = api
        clock = FakeClock()
        self.resync = Resync(
            api=anything,
            cache=self.cache,
            metrics=Metrics(),
            interval_seconds=600,
            clock=clock,
            random=lambda: 0.5,
            on_found=lambda *_: None,
        )
        self.watches = Watches(
            api=anything,
            resync=self.resync,
            serves=lambda resource: resource in self.served,
            on_event=self._take,
            clock=clock,
            random=lambda: 0.0,
        )
        self.api = api

    def _take(self, resource: Resource, event: str, manifest: dict[str, Any]) -> None:
        assert resource is kinds.SERVICE
        self.told.append((event, manifest["metadata"]["name"]))
        self.cache.put(resource, manifest)

    async def run(self) -> None:
        """Until the scripts are played."""
        await self.resync.prime()
        task = asyncio.create_task(self.watches.run())
        await asyncio.wait_for(self.api.is_over.wait(), 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(watches, "_APPEAR_SECONDS", 0.0)


def test_kopf_and_these_watches_share_all_kinds() -> None:
    """No kind is watched twice, and none is forgotten."""
    assert {*FOLLOWED, *kinds.OWN} == set(kinds.WATCHED)
    assert len(FOLLOWED) + len(kinds.OWN) == len(kinds.WATCHED)


async def test_a_watch_goes_on_where_it_ended() -> None:
    """From the version of the LIST, then of the last event or bookmark; no second LIST."""
    bookmark = {"type": "BOOKMARK", "object": a_service("", 120)}
    api = FakeWatchApi([an_event("ADDED", "a", 110), bookmark], [an_event("DELETED", "a", 130)], [])
    harness = Harness(api)
    await harness.run()
    assert api.asked == [100, 120, 130]
    assert harness.told == [("ADDED", "a"), ("DELETED", "a")]
    assert api.listed == 1


async def test_a_version_that_is_too_old_leads_to_a_list() -> None:
    """What vanished in the gap is forgotten, and the watch goes on from the new LIST."""
    api = FakeWatchApi([an_event("ADDED", "a", 110)], GONE, [])
    harness = Harness(api)
    await harness.run()
    assert api.asked == [100, 110, 200]
    assert api.listed == 2
    assert harness.cache.keys(kinds.SERVICE) == []


async def test_a_failure_keeps_the_place() -> None:
    """Nobody knows what a broken connection would have said, so it is asked again."""
    broken = ApiError("broken", status=0, reason="ClientPayloadError")
    api = FakeWatchApi([an_event("ADDED", "a", 110)], broken, broken, [])
    await Harness(api).run()
    assert api.asked == [100, 110, 110, 110]
    assert api.listed == 1


async def test_the_server_says_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is overloaded is left alone for as long as it asks for."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def take_note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0 if seconds == 7.0 else seconds)

    monkeypatch.setattr(asyncio, "sleep", take_note)
    busy = ApiError("busy", status=429, reason="TooManyRequests", retry_after_seconds=7.0)
    api = FakeWatchApi([an_event("ADDED", "a", 110)], busy, [])
    await Harness(api).run()
    assert api.asked == [100, 110, 110]
    assert slept.count(7.0) == 1


async def test_a_kind_without_an_api_is_not_asked_for() -> None:
    """Until it is served: then it is listed and watched."""
    api = FakeWatchApi([])
    harness = Harness(api, without=kinds.SERVICE)
    task = asyncio.create_task(harness.run())
    await asyncio.sleep(0.01)
    assert api.asked == []
    harness.served.add(kinds.SERVICE)
    await task
    assert api.asked == [200]
    assert api.listed == 2


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.5), (2, 1.0), (4, 4.0), (5, 8.0), (99, 8.0)]
)
def test_failing_watches_are_not_hammered_at(
    failures: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause doubles up to eight seconds: a minute later at most, all is watched again."""
    monkeypatch.setattr(watches, "_FIRST_PAUSE_SECONDS", 0.5)
    assert Harness(FakeWatchApi()).watches._choose_pause(failures) == seconds
