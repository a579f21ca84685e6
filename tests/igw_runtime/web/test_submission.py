import asyncio
import threading
import time

import pytest

from igw_runtime.errors import DeadlineExceededError
from igw_runtime.serving.deadlines import Deadline
from igw_runtime.web.submission import LARGE_TEXT_BYTES
from runtime_kit.bench import Bench, a_bench

SOON = 30.0


class Parser:
    """Work that says how much of it was done at once."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.01)
        with self._lock:
            self._now -= 1
        return 7


async def parse(bench: Bench, work: Parser, text_bytes: int, seconds: float = SOON) -> int:
    """Have a text of this size parsed."""
    deadline = Deadline(time.monotonic() + seconds)
    desk = bench.services.desk
    return await desk.parse(work, effort=text_bytes, text_bytes=text_bytes, deadline=deadline)


@pytest.mark.parametrize(("text_bytes", "most"), [(LARGE_TEXT_BYTES, 1), (LARGE_TEXT_BYTES - 1, 2)])
async def test_only_large_texts_take_turns(text_bytes: int, most: int) -> None:
    """Several at once would take their memory, and the interpreter, at once."""
    work = Parser()
    with a_bench() as bench:
        answers = await asyncio.gather(*(parse(bench, work, text_bytes) for _ in range(4)))

    assert answers == [7] * 4
    assert (work.most == 1) is (most == 1)


async def test_wait_for_a_turn_ends_at_the_deadline() -> None:
    """A request that is too late when its turn comes is not parsed."""
    work = Parser()
    with a_bench() as bench:
        first = asyncio.create_task(parse(bench, work, LARGE_TEXT_BYTES))
        with pytest.raises(DeadlineExceededError):
            await parse(bench, Parser(), LARGE_TEXT_BYTES, seconds=0)
        assert await first == 7
