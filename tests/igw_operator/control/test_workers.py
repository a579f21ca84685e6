import asyncio
from collections import Counter

import pytest

from igw_operator.api.objects import ObjectKey
from igw_operator.control.outcome import Outcome, Result
from igw_operator.control.work_queue import WorkQueue
from igw_operator.control.workers import Workers
from igw_operator.errors import ApiError
from igw_operator.metrics import Metrics
from operator_fakes import FakeClock

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
