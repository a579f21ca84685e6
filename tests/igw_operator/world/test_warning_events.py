from typing import Any

from igw_operator.errors import ApiError
from igw_operator.world.warning_events import WarningEvents
from operator_fakes import FakeApi, FakeClock

PATH = "/api/v1/namespaces/demo/events"


async def test_a_namespace_is_asked_once_in_a_while() -> None:
    """However many of its gateways are in trouble."""
    api, clock = FakeApi(), FakeClock()
    client: Any = api
    api.objects[PATH] = {"items": [{"involvedObject": {"uid": "a"}, "metadata": {}}]}
    events = WarningEvents(api=client, clock=clock)
    assert len(await events.fetch("demo", {"a"})) == 1
    assert await events.fetch("demo", {"b"}) == []
    assert len(api.requests) == 1
    clock.seconds += 11
    await events.fetch("demo", {"a"})
    assert len(api.requests) == 2


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    """A diagnosis without events is poorer, not wrong."""
    api, clock = FakeApi(), FakeClock()
    client: Any = api
    api.failures["GET", PATH] = [ApiError("slow down", status=429, retry_after_seconds=60)]
    api.objects[PATH] = {"items": []}
    events = WarningEvents(api=client, clock=clock)
    assert await events.fetch("demo", {"a"}) == []
    clock.seconds += 59
    await events.fetch("demo", {"a"})
    assert len(api.requests) == 1
    clock.seconds += 2
    await events.fetch("demo", {"a"})
    assert len(api.requests) == 2
