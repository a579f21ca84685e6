import asyncio
from typing import Any

import pytest

from factories import live_gateway_manifest
from igw_operator.act.events import EventRecorder
from igw_operator.judge.events import EventDraft
from igw_operator.metrics import Metrics
from operator_fakes import FakeApi, FakeClock

DRAFT = EventDraft(type="Warning", reason="ImagePullFailed", note="Pod x cannot pull")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands."""
    return FakeClock()


@pytest.fixture
def api() -> FakeApi:
    """An API server without events."""
    return FakeApi()


@pytest.fixture
def metrics() -> Metrics:
    """The metrics that count what is dropped."""
    return Metrics()


@pytest.fixture
def recorder(api: FakeApi, clock: FakeClock, metrics: Metrics) -> EventRecorder:
    """The recorder under test."""
    return EventRecorder(api=api, metrics=metrics, instance="me", now=clock.now, clock=clock)


async def post(recorder: EventRecorder) -> None:
    """Have everything posted that waits."""
    task = asyncio.create_task(recorder.run())
    while not recorder._waiting.empty():  # noqa: ASYNC110 - it is emptied by the task
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    task.cancel()


async def test_an_event_says_what_about_whom(recorder: EventRecorder, api: FakeApi) -> None:
    """In the form of events.k8s.io/v1."""
    recorder.record(live_gateway_manifest(), DRAFT)
    await post(recorder)
    (event,) = api.objects.values()
    assert (event["type"], event["reason"], event["note"]) == (
        "Warning",
        "ImagePullFailed",
        "Pod x cannot pull",
    )
    assert event["regarding"]["uid"] == "uid-demo-photos"


@pytest.mark.pain(15)
async def test_a_repeated_event_raises_a_count(recorder: EventRecorder, api: FakeApi) -> None:
    """One object however often; another note is another event."""
    for _ in range(3):
        recorder.record(live_gateway_manifest(), DRAFT)
    recorder.record(live_gateway_manifest(), EventDraft(type="Normal", reason="Serving", note="ok"))
    await post(recorder)
    counts = [event.get("series", {}).get("count") for event in api.objects.values()]
    assert counts == [3, None]


async def test_a_flood_is_dropped_and_counted(
    recorder: EventRecorder, api: FakeApi, metrics: Metrics, clock: FakeClock
) -> None:
    """A burst goes through, the rest does not; later there is room again."""
    for number in range(100):
        recorder.record(live_gateway_manifest(f"g{number}"), DRAFT)
    await post(recorder)
    assert len(api.objects) == 25
    assert _dropped(metrics) == 75
    clock.seconds += 1
    for number in range(100, 110):
        recorder.record(live_gateway_manifest(f"g{number}"), DRAFT)
    await post(recorder)
    assert len(api.objects) == 30


def _dropped(metrics: Metrics) -> Any:
    return metrics.registry.get_sample_value("igw_operator_events_dropped_total")
