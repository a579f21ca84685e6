import asyncio
from typing import Any

import pytest

from igw_operator import conventions, kinds
from igw_operator.api.objects import ObjectKey
from igw_operator.control.intake import Intake
from igw_operator.control.work_queue import WorkQueue
from igw_operator.kinds import Resource
from igw_operator.world.cache import Cache
from operator_fakes import FakeClock

PHOTOS = ObjectKey("demo", "photos")


class Harness:
    def __init__(self) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock=FakeClock(), random=lambda: 0.0)
        self.gaps: list[Resource] = []
        self.intake = Intake(cache=Cache(), queue=self.queue)
        self._version = 0

    def take(
        self, resource: Resource, name: str, event: str | None = "MODIFIED", **fields: Any
    ) -> None:
        self._version += 1
        manifest = {
            "metadata": {
                "name": name,
                "namespace": "demo" if resource.namespaced else "",
                "uid": f"uid-{name}",
                "resourceVersion": str(self._version),
                "labels": {conventions.LABEL_GATEWAY: "photos"},
            }
        }
        self.intake.take(resource, event, manifest | fields, self.gaps.append)

    async def queued(self) -> set[ObjectKey]:
        """The keys that wait, taken."""
        keys = set()
        while self.queue.depth():
            async with asyncio.timeout(1):
                key = await self.queue.get()
            self.queue.done(key)
            keys.add(key)
        return keys


@pytest.fixture
async def harness() -> Harness:
    """A gateway is known and looked at."""
    harness = Harness()
    harness.take(kinds.GATEWAY, "photos", None, spec={})
    assert await harness.queued() == {PHOTOS}
    return harness


async def test_a_gateway_of_gateway_api_wakes_those_that_are_routed_through_it(
    harness: Harness,
) -> None:
    """Not for each route that others attach to it: that would be a fleet's every edit."""
    route = {"parentRefs": [{"name": "public"}]}
    harness.take(kinds.GATEWAY, "photos", "ADDED", spec={"service": {"route": route}})
    await harness.queued()
    listeners = [{"name": "http", "attachedRoutes": 1}]
    harness.take(kinds.PARENT_GATEWAY, "public", "ADDED", status={"listeners": listeners})
    assert await harness.queued() == {PHOTOS}
    listeners = [{"name": "http", "attachedRoutes": 2}]
    harness.take(kinds.PARENT_GATEWAY, "public", status={"listeners": listeners})
    assert await harness.queued() == set()
    harness.take(kinds.PARENT_GATEWAY, "public", spec={"listeners": [{"name": "https"}]})
    assert await harness.queued() == {PHOTOS}
    harness.take(kinds.PARENT_GATEWAY, "public", "DELETED")
    assert await harness.queued() == {PHOTOS}


@pytest.mark.parametrize("resource", [*kinds.CHILDREN, *kinds.OBSERVED], ids=lambda it: it.plural)
async def test_an_event_of_a_relative_concerns_its_gateway(
    harness: Harness, resource: Resource
) -> None:
    """New, changed or deleted."""
    for event in ("ADDED", "MODIFIED", "DELETED"):
        harness.take(resource, "photos-x", event, spec=event)
        assert await harness.queued() == {PHOTOS}, event


async def test_metric_values_of_an_autoscaler_concern_nobody(harness: Harness) -> None:
    """They change every few seconds; its choice does concern us, and a metric it cannot read."""

    def status(desired: int, *metrics: dict[str, Any]) -> dict[str, Any]:
        return {"desiredReplicas": desired, "currentMetrics": list(metrics)}

    def cpu(percent: int) -> dict[str, Any]:
        return {"type": "Resource", "resource": {"current": {"averageUtilization": percent}}}

    harness.take(kinds.AUTOSCALER, "photos", status=status(3, cpu(50)))
    assert await harness.queued() == {PHOTOS}
    harness.take(kinds.AUTOSCALER, "photos", status=status(3, cpu(60)))
    assert await harness.queued() == set()
    harness.take(kinds.AUTOSCALER, "photos", status=status(4, cpu(60)))
    assert await harness.queued() == {PHOTOS}
    harness.take(kinds.AUTOSCALER, "photos", status=status(4, {"type": ""}))
    assert await harness.queued() == {PHOTOS}


async def test_when_keda_last_looked_concerns_nobody(harness: Harness) -> None:
    """What it says of a ScaledObject does, to the letter: the letter is shown."""

    def status(message: str, last: str) -> dict[str, Any]:
        ready = {"type": "Ready", "status": "False", "message": message}
        return {"conditions": [ready], "lastActiveTime": last}

    harness.take(kinds.SCALED_OBJECT, "photos", status=status("no such host", "12:00:00"))
    assert await harness.queued() == {PHOTOS}
    harness.take(kinds.SCALED_OBJECT, "photos", status=status("no such host", "12:00:30"))
    assert await harness.queued() == set()
    harness.take(kinds.SCALED_OBJECT, "photos", status=status("timed out", "12:00:30"))
    assert await harness.queued() == {PHOTOS}


@pytest.mark.pain(15)
async def test_a_changed_runtime_concerns_its_gateways(harness: Harness) -> None:
    """A status that we wrote ourselves does not."""
    harness.take(kinds.RUNTIME, "default", spec={"image": "a"})
    assert await harness.queued() == {PHOTOS, ObjectKey("", "default")}
    harness.take(kinds.RUNTIME, "default", spec={"image": "a"}, status={"gateways": 1})
    assert await harness.queued() == set()
    harness.take(kinds.RUNTIME, "default", spec={"image": "b"})
    assert PHOTOS in await harness.queued()


async def test_a_watch_that_lists_again_asks_for_a_resync(harness: Harness) -> None:
    """The second initial event of one object means a gap; the first does not."""
    harness.take(kinds.GATEWAY, "other", None)
    assert harness.gaps == []
    harness.take(kinds.GATEWAY, "other", "MODIFIED")
    assert harness.gaps == []
    harness.take(kinds.GATEWAY, "other", None)
    assert harness.gaps == [kinds.GATEWAY]
