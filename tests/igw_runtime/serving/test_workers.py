import asyncio
import time
import weakref
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from igw_runtime.engines.protocol import Batch
from igw_runtime.errors import DeadlineExceededError, InternalError, UnsupportedFormatError
from igw_runtime.models.preprocessing import Tensor
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.serving.jobs import Classification, ImagePayload, Job
from runtime_kit.bench import Bench, GatedSession, a_bench
from runtime_kit.colours import BLUE, GREEN, RED, ColourSession, picture
from runtime_kit.process import wait_until
from runtime_kit.several import DARKER, the_others


def a_job(
    bench: Bench, payload: ImagePayload | Tensor, seconds: float = 5.0, *, version: str = "1"
) -> Job[str]:
    """Return a job that answers with the best label."""
    loop = asyncio.get_running_loop()
    now = time.monotonic()
    return Job(
        model=bench.services.catalog.find("colours", version),
        payload=payload,
        render=best,
        deadline=Deadline(now + seconds),
        enqueued_at=now,
        future=loop.create_future(),
        loop=loop,
    )


def best(result: Classification) -> str:
    """Render the best label."""
    return result.top[0][1]


def an_image(content: bytes) -> ImagePayload:
    """Return a raw image body."""
    return ImagePayload(body=content)


@pytest.fixture
def session() -> GatedSession:
    """Return a held engine."""
    return GatedSession()


@pytest.fixture
def bench(session: GatedSession) -> Iterator[Bench]:
    """Return a serving path."""
    with a_bench(session=session, max_batch=4) as built:
        yield built
        session.gate.set()


async def test_waiting_jobs_share_a_forward_pass(bench: Bench, session: GatedSession) -> None:
    """While a worker is busy a batch gathers; nobody waits for one to fill up."""
    jobs = [a_job(bench, an_image(picture(colour))) for colour in (RED, GREEN, BLUE, RED)]
    bench.queue.put(jobs[0])
    await until_busy(session)
    for job in jobs[1:]:
        bench.queue.put(job)
    session.gate.set()

    assert await asyncio.gather(*(job.future for job in jobs)) == ["red", "green", "blue", "red"]
    assert session.batches == [1, 3]


async def test_a_forward_pass_is_of_one_model(session: GatedSession) -> None:
    """What waits for the same model goes along, whatever stands between it and the first."""
    others = the_others()
    with a_bench(session=session, others=others, max_batch=4) as bench:
        held = a_job(bench, an_image(picture(RED)))
        bench.queue.put(held)
        await until_busy(session)
        jobs = [a_job(bench, an_image(picture(RED)), version=it) for it in "1211211"]
        for job in jobs:
            bench.queue.put(job)
        session.gate.set()

        assert await asyncio.gather(*(job.future for job in jobs)) == [
            "red", "dark", "red", "red", "dark", "red", "red",
        ]  # fmt: skip
    assert session.batches == [1, 4, 1]
    assert others[DARKER].batches == [1, 1], "it takes one picture at a time"


async def test_bad_image_fails_alone(bench: Bench, session: GatedSession) -> None:
    """One broken picture in a batch is one error."""
    first = a_job(bench, an_image(picture(RED)))
    bench.queue.put(first)
    await until_busy(session)
    bad, good = a_job(bench, an_image(b"not an image")), a_job(bench, an_image(picture(BLUE)))
    bench.queue.put(bad)
    bench.queue.put(good)
    session.gate.set()

    assert await good.future == "blue"
    with pytest.raises(UnsupportedFormatError):
        await bad.future
    assert await first.future == "red"


async def test_abandoned_and_expired_work_is_not_computed(
    bench: Bench, session: GatedSession
) -> None:
    """What nobody waits for is dropped when it is dequeued, and counted."""
    first = a_job(bench, an_image(picture(RED)))
    bench.queue.put(first)
    await until_busy(session)
    left, late = (
        a_job(bench, an_image(picture(RED))),
        a_job(bench, an_image(picture(RED)), seconds=0),
    )
    bench.queue.put(left)
    bench.queue.put(late)
    bench.queue.abandon([left])
    session.gate.set()

    with pytest.raises(DeadlineExceededError):
        await late.future
    assert await first.future == "red"
    assert session.batches == [1]
    assert bench.sample("igw_runtime_abandoned_requests_total") == 2


class Watched(ImagePayload):
    """A body that a test can see being freed."""


async def test_abandoned_work_is_freed_at_once(bench: Bench, session: GatedSession) -> None:
    """While the worker is busy, two hundred clients that hung up leave no body behind."""
    first = a_job(bench, an_image(picture(RED)))
    bench.queue.put(first)
    await until_busy(session)
    bodies = []
    for _ in range(200):
        job = a_job(bench, Watched(body=picture(RED)))
        bodies.append(weakref.ref(job.payload))
        bench.queue.put(job)
        bench.queue.abandon([job])
    del job

    assert [body() for body in bodies] == [None] * 200
    assert bench.sample("igw_runtime_abandoned_requests_total") == 200
    session.gate.set()
    assert await first.future == "red"
    assert session.batches == [1]


async def test_idle_worker_holds_no_body() -> None:
    """What was classified is freed before the worker waits for the next picture."""
    with a_bench() as bench:
        job = a_job(bench, Watched(body=picture(RED)))
        body = weakref.ref(job.payload)
        bench.queue.put(job)
        assert await job.future == "red"
        del job
        wait_until(lambda: body() is None, 5)


async def test_abandoned_work_that_was_begun_is_not_decoded(bench: Bench) -> None:
    """A batch of large pictures is not decoded for clients that left after it was taken."""
    job = a_job(bench, an_image(picture(RED)))
    job.abandoned = True
    bench.pool._process(bench.lanes[0].classifier, ColourSession(), [job])

    assert bench.count_stage("validate") == 0
    assert bench.sample("igw_runtime_abandoned_requests_total") == 1


class ShortSession:
    """An engine that loses the last image of a batch."""

    def infer(self, batch: Batch) -> Batch:
        return ColourSession().infer(batch)[:-1]


async def test_wrong_number_of_answers_is_an_error_for_all_and_the_worker_lives() -> None:
    """Nobody gets somebody else's answer, nobody waits for ever, and the thread goes on."""
    with a_bench(session=ShortSession(), max_batch=2) as bench, capture_logs() as logs:
        for _ in range(2):
            job = a_job(bench, an_image(picture(RED)))
            bench.queue.put(job)
            with pytest.raises(InternalError):
                await asyncio.wait_for(job.future, 5)

    assert "scores of (0, 4)" in str(logs[0]["exc_info"])


def test_threads_that_do_not_end_are_waited_for_together() -> None:
    """Eight stuck workers delay the end of the process by one timeout, not by eight."""
    session = GatedSession()
    with a_bench(session=session, workers=8) as bench:
        started = time.monotonic()
        bench.pool.join(0.5)
        assert time.monotonic() - started < 3


class BrokenSession:
    def infer(self, batch: Batch) -> Batch:
        message = f"engine fell over on {batch.shape}"
        raise RuntimeError(message)


async def test_engine_failure_is_an_answer_and_the_worker_lives() -> None:
    """Whatever an engine raises, the request gets a 500 without details and work goes on."""
    with a_bench(session=BrokenSession()) as bench, capture_logs() as logs:
        for _ in range(2):
            job = a_job(bench, an_image(picture(RED)))
            bench.queue.put(job)
            with pytest.raises(InternalError) as caught:
                await job.future
            assert "fell over" not in str(caught.value)

    assert [line["event"] for line in logs] == ["worker_failed", "worker_failed"]


async def until_busy(session: GatedSession) -> None:
    """Wait until the worker is inside the engine."""
    assert await asyncio.to_thread(session.entered.wait, 5)
