import asyncio

import pytest

from igw_operator.control.lease import Lease, LeaseLostError, LeaseSettings
from igw_operator.errors import ApiError
from operator_fakes import FakeApi, FakeClock

PATH = "/apis/coordination.k8s.io/v1/namespaces/igw-system/leases/igw-operator"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock that sleeping moves."""
    clock = FakeClock()
    really_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock.seconds += seconds
        await really_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return clock


@pytest.fixture
def api() -> FakeApi:
    """An API server without leases."""
    return FakeApi()


def a_lease(api: FakeApi, clock: FakeClock, identity: str) -> Lease:
    """The lease as one process sees it."""
    settings = LeaseSettings(namespace="igw-system", identity=identity)
    return Lease(api=api, settings=settings, clock=clock, now=clock.now)


def holder(api: FakeApi) -> str:
    """Who holds the lease."""
    return str(api.objects[PATH]["spec"]["holderIdentity"])


async def test_the_first_one_gets_it(api: FakeApi, clock: FakeClock) -> None:
    """There was none."""
    await a_lease(api, clock, "a").acquire()
    assert holder(api) == "a"


async def test_a_released_lease_is_taken_at_once(api: FakeApi, clock: FakeClock) -> None:
    """An orderly end costs the next one nothing."""
    first = a_lease(api, clock, "a")
    await first.acquire()
    await first.release()
    before = clock.seconds
    await a_lease(api, clock, "b").acquire()
    assert (holder(api), clock.seconds - before) == ("b", 0)


async def test_a_silent_holder_is_replaced_after_its_time(api: FakeApi, clock: FakeClock) -> None:
    """Not sooner: by the waiting one's clock, since it first looked."""
    await a_lease(api, clock, "a").acquire()
    before = clock.seconds
    await a_lease(api, clock, "b").acquire()
    assert holder(api) == "b"
    assert clock.seconds - before > 15


async def test_losing_it_to_another_ends_the_process(api: FakeApi, clock: FakeClock) -> None:
    """By an error that nothing catches."""
    first = a_lease(api, clock, "a")
    await first.acquire()
    api.objects[PATH]["spec"]["holderIdentity"] = "b"
    with pytest.raises(LeaseLostError, match="lost to b"):
        await first.keep()


async def test_an_api_server_that_does_not_answer_ends_the_process(
    api: FakeApi, clock: FakeClock
) -> None:
    """Before the lease's duration is over, when another one may begin."""
    first = a_lease(api, clock, "a")
    await first.acquire()
    before = clock.seconds
    api.failures["GET", PATH] = [ApiError("down", status=0) for _ in range(50)]
    with pytest.raises(LeaseLostError, match="not renewed"):
        await first.keep()
    assert clock.seconds - before < 15


async def test_a_short_outage_is_survived(api: FakeApi, clock: FakeClock) -> None:
    """One failed renewal is none too many."""
    first = a_lease(api, clock, "a")
    await first.acquire()
    api.failures["GET", PATH] = [ApiError("down", status=0)]
    task = asyncio.create_task(first.keep())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
