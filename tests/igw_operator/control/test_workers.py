import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from igw_operator.api.objects import ObjectKey
from igw_operator.control.outcome import Outcome, Result
from igw_operator.control.work_queue import WorkQueue
from igw_operator.control.workers import Workers
from igw_operator.errors import ApiError
from igw_operator.metrics import Metrics
from operator_fakes import FakeClock, run_in_virtual_time

PHOTOS = ObjectKey("demo", "photos")
RUNTIME = ObjectKey("", "default")


class Harness:
    """Workers with a scripted reconcile."""

    def __init__(self, *, count: int = 2) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock=self.clock, random=lambda: 0.0)
        self.calls: Counter[ObjectKey] = Counter()
        self.answers: dict[ObjectKey, Outcome | Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.most = 0
        self.workers = Workers(
            queue=self.queue,
            gateways=self.reconcile,
            runtimes=self.reconcile,
            metrics=self.metrics,
            clock=self.clock,
            count=count,
        )

    async def reconcile(self, key: ObjectKey) -> Outcome:
        self.calls[key] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        answer = self.answers.get(key, Outcome())
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def work(self) -> None:
        """Let the workers do what there is to do now."""
        task = asyncio.create_task(self.workers.run())
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def count(self, result: Result) -> float | None:
        labels = {"result": result.value}
        return self.metrics.registry.get_sample_value("igw_operator_reconciles_total", labels)


async def test_a_crowd_that_waits_for_nothing_lets_others_work() -> None:
    """After a restart thousands of passes find nothing to do; the lease is renewed all the same."""
    harness = Harness()
    for number in range(1000):
        harness.queue.add(ObjectKey("demo", f"photos-{number}"))
    task = asyncio.create_task(harness.workers.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert 0 < harness.calls.total() < 1000
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("key", [PHOTOS, RUNTIME], ids=["a gateway", "a runtime"])
async def test_a_key_is_reconciled_once(key: ObjectKey) -> None:
    """And counted."""
    harness = Harness()
    harness.queue.add(key)
    await harness.work()
    assert harness.calls == {key: 1}
    assert harness.count(Result.DONE) == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Outcome(result=Result.FAILED), Result.FAILED),
        (ApiError("down", status=0), Result.FAILED),
        (ApiError("forbidden", status=403), Result.REFUSED),
        (RuntimeError("a bug"), Result.CRASHED),
    ],
    ids=["a failure", "no answer", "a refusal", "a crash"],
)
async def test_a_failing_key_comes_back_and_harms_nobody(
    answer: Outcome | Exception, result: Result
) -> None:
    """Later, and the next key is worked on at once."""
    harness = Harness(count=1)
    harness.answers[PHOTOS] = answer
    harness.queue.add(PHOTOS)
    harness.queue.add(ObjectKey("demo", "other"))
    await harness.work()
    assert harness.calls == {PHOTOS: 1, ObjectKey("demo", "other"): 1}
    assert harness.count(result) == 1
    harness.clock.seconds += 60
    await harness.work()
    assert harness.calls[PHOTOS] == 2


async def test_what_waits_is_looked_at_again_in_time() -> None:
    """Not before."""
    harness = Harness()
    harness.answers[PHOTOS] = Outcome(result=Result.WAITING, again_seconds=30)
    harness.queue.add(PHOTOS)
    await harness.work()
    harness.clock.seconds += 29
    await harness.work()
    assert harness.calls[PHOTOS] == 1
    harness.clock.seconds += 1
    await harness.work()
    assert harness.calls[PHOTOS] == 2


async def test_no_more_than_so_many_at_once() -> None:
    """As many as there are workers."""
    harness = Harness(count=3)
    harness.gate.clear()
    for number in range(10):
        harness.queue.add(ObjectKey("demo", str(number)))
    await harness.work()
    assert harness.most == 3


class SlowHarness(Harness):
    """Keys of the namespace "slow" take a minute; in virtual time."""

    def __init__(self, *, count: int) -> None:
        super().__init__(count=count)
        clock = asyncio.get_running_loop().time
        self.queue = WorkQueue(clock=clock, random=lambda: 0.0)
        self.workers = Workers(
            queue=self.queue,
            gateways=self.reconcile,
            runtimes=self.reconcile,
            metrics=self.metrics,
            clock=clock,
            count=count,
        )
        self.slow_seconds = 60.0
        self.done: dict[ObjectKey, float] = {}

    async def reconcile(self, key: ObjectKey) -> Outcome:
        await asyncio.sleep(self.slow_seconds if key.namespace == "slow" else 0.1)
        self.done[key] = asyncio.get_running_loop().time()
        return Outcome()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Have the workers work within the block."""
        task = asyncio.create_task(self.workers.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("number", "longest"),
    [
        pytest.param(2, 1, id="fewer than workers"),
        pytest.param(6, 7, id="as many as there is room for"),
        pytest.param(300, 600, id="many more, each suffered once"),
    ],
)
def test_slow_keys_do_not_hold_up_the_others(number: int, longest: float) -> None:
    """However many there are, and however long they take, in the end each has its turn."""

    async def main() -> None:
        harness = SlowHarness(count=3)
        slow = [ObjectKey("slow", str(it)) for it in range(number)]
        for key in [*slow, PHOTOS]:
            harness.queue.add(key)
        async with harness.working():
            await asyncio.sleep(longest)
            assert PHOTOS in harness.done
            # Now it is known who is slow: another thousand passes need no ordinary place.
            for _ in range(20):
                now = asyncio.get_running_loop().time()
                for key in [*slow, PHOTOS]:
                    harness.queue.add(key)
                await asyncio.sleep(3)
                assert harness.done[PHOTOS] > now
            await asyncio.sleep(60 * number)
        assert set(harness.done) == {*slow, PHOTOS}
        assert harness.count(Result.CRASHED) is None

    run_in_virtual_time(main())


def test_a_key_that_was_slow_once_is_ordinary_again() -> None:
    """The next pass shows it."""

    async def main() -> None:
        harness = SlowHarness(count=1)
        slow = ObjectKey("slow", "photos")
        async with harness.working():
            harness.queue.add(slow)
            await asyncio.sleep(61)
            assert harness.workers.slow() == 1
            harness.slow_seconds = 1.0
            harness.queue.add(slow)
            await asyncio.sleep(2)
            assert harness.workers.slow() == 0

    run_in_virtual_time(main())


def test_what_waits_for_room_does_not_keep_the_process() -> None:
    """At the end, only what has begun is waited for."""

    async def main() -> None:
        harness = SlowHarness(count=1)
        for it in range(5):
            harness.queue.add(ObjectKey("slow", str(it)))
        async with harness.working():
            await asyncio.sleep(30)
            assert harness.queue.busy() > 2
            began = asyncio.get_running_loop().time()
            await harness.workers.stop(patience_seconds=600)
            assert asyncio.get_running_loop().time() - began < 60
            assert len(harness.done) == 2

    run_in_virtual_time(main())
