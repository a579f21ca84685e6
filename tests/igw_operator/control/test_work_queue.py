import asyncio
import sys
import time

import pytest

from igw_operator.control.work_queue import Backoff, WorkQueue
from operator_fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands."""
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    """The queue under test, without jitter."""
    return WorkQueue(clock=clock, random=lambda: 0.0)


async def take(queue: WorkQueue[str]) -> str | None:
    """The next key, or None where there is none right now."""
    try:
        async with asyncio.timeout(0.01):
            return await queue.get()
    except TimeoutError:
        return None


async def test_a_key_that_is_added_twice_is_worked_on_once(queue: WorkQueue[str]) -> None:
    """Additions of a waiting key are one."""
    queue.add("a")
    queue.add("a")
    assert [await take(queue), await take(queue)] == ["a", None]


async def test_a_key_added_while_worked_on_comes_back_when_done(queue: WorkQueue[str]) -> None:
    """No change is lost, and no key is worked on twice at once."""
    queue.add("a")
    await take(queue)
    queue.add("a")
    assert await take(queue) is None
    queue.done("a")
    assert await take(queue) == "a"


async def test_a_key_rests_after_its_work(clock: FakeClock) -> None:
    """A hundred changes within the rest become one pass after it; other keys do not wait."""
    queue: WorkQueue[str] = WorkQueue(clock=clock, random=lambda: 0.0, rest_seconds=0.2)
    queue.add("a")
    assert await take(queue) == "a"
    queue.add("a")
    queue.done("a")
    for _ in range(100):
        queue.add("a")
    queue.add("b")
    assert [await take(queue), await take(queue)] == ["b", None]
    clock.seconds += 0.2
    assert [await take(queue), await take(queue)] == ["a", None]


async def test_a_rested_key_is_worked_on_at_once(clock: FakeClock) -> None:
    """The rest delays what comes too soon, and nothing else."""
    queue: WorkQueue[str] = WorkQueue(clock=clock, random=lambda: 0.0, rest_seconds=0.2)
    queue.add("a")
    await take(queue)
    queue.done("a")
    clock.seconds += 0.2
    assert await take(queue) is None
    queue.add("a")
    assert await take(queue) == "a"


async def test_a_worker_wakes_when_a_rest_is_over() -> None:
    """By the real clock: nobody else would tell it."""
    queue: WorkQueue[str] = WorkQueue(clock=time.monotonic, random=lambda: 0.0, rest_seconds=0.01)
    queue.add("a")
    await queue.get()
    queue.done("a")
    queue.add("a")
    async with asyncio.timeout(1):
        assert await queue.get() == "a"


async def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue[str]) -> None:
    """First in, first out; a key that comes back queues at the end."""
    for key in "abc":
        queue.add(key)
    assert [await take(queue) for _ in range(3)] == ["a", "b", "c"]


async def test_a_later_key_waits_for_its_time(queue: WorkQueue[str], clock: FakeClock) -> None:
    """Not before, and then at once."""
    queue.add_after("a", 10)
    assert await take(queue) is None
    clock.seconds += 10
    assert await take(queue) == "a"


async def test_of_several_later_wishes_the_earliest_counts(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    """One visit answers all of them."""
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.seconds += 5
    assert await take(queue) == "a"
    queue.done("a")
    clock.seconds += 30
    assert await take(queue) is None


@pytest.mark.pain(9)
def test_failures_back_off_up_to_five_minutes(queue: WorkQueue[str]) -> None:
    """Half a second, doubled each time, bounded; forgotten after a success."""
    delays = [queue.add_failed("a") for _ in range(12)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == 300.0
    queue.forget("a")
    assert queue.add_failed("a") == 0.5


def test_a_retry_is_no_sooner_than_the_server_asked(queue: WorkQueue[str]) -> None:
    """Retry-After wins over a shorter backoff."""
    assert queue.add_failed("a", at_least_seconds=60) == 60


def test_one_failing_key_does_not_slow_another_down(queue: WorkQueue[str]) -> None:
    """Backoffs are counted for each key."""
    for _ in range(10):
        queue.add_failed("a")
    assert queue.add_failed("b") == 0.5


@pytest.mark.pain(9)
def test_all_retries_share_a_rate(clock: FakeClock) -> None:
    """A thousand keys that fail at once do not come back at once."""
    backoff = Backoff(retries_per_second=10, burst=5)
    queue: WorkQueue[int] = WorkQueue(clock=clock, random=lambda: 0.0, backoff=backoff)
    delays = [queue.add_failed(key) for key in range(105)]
    assert delays[:5] == [0.5] * 5
    assert delays[-1] == pytest.approx(10.0)


def test_jitter_spreads_retries() -> None:
    """Equal failures do not mean equal delays; never above the bound."""
    backoff = Backoff()
    assert backoff.delay(1, 0.0) < backoff.delay(1, 0.9)
    assert backoff.delay(5000, 0.99) == backoff.longest_seconds


async def test_age_and_depth_are_those_of_waiting_keys(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    """What is worked on does not wait."""
    queue.add("a")
    clock.seconds += 7
    queue.add("b")
    assert (queue.depth(), queue.oldest_seconds()) == (2, 7.0)
    await take(queue)
    assert (queue.depth(), queue.busy(), queue.oldest_seconds()) == (1, 1, 0.0)


async def test_a_waiting_worker_is_woken(queue: WorkQueue[str]) -> None:
    """An addition reaches a worker that already waits."""
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await waiting == "a"


async def test_its_age_can_be_read_by_another_thread() -> None:
    """A scrape must not fail because the loop works meanwhile."""
    queue: WorkQueue[int] = WorkQueue(clock=time.monotonic, random=lambda: 0.0)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(
                asyncio.to_thread(lambda: [queue.oldest_seconds() for _ in range(1000)])
            )
            while not reader.done():
                for key in range(1000):
                    queue.add(key)
                for _ in range(1000):
                    queue.done(await queue.get())
                await asyncio.sleep(0)
    finally:
        sys.setswitchinterval(before)
    assert min(reader.result()) >= 0
