"""The rude part of the traffic: clients that leave, stall, or never stop sending."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Final, Self

from bench.soak.traffic import LIMIT_BYTES, encode

RATE: Final = 12.0
_MOST_AT_ONCE: Final = 200
_PATIENCE_SECONDS: Final = 15.0
_HEAD: Final = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
Manner = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


async def leave_while_sending(
    _: asyncio.StreamReader, writer: asyncio.StreamWriter, picture: bytes
) -> None:
    """Half a body, and gone."""
    writer.write(_announce(len(picture)) + picture[: len(picture) // 2])
    await writer.drain()


async def leave_while_waiting(
    _: asyncio.StreamReader, writer: asyncio.StreamWriter, picture: bytes
) -> None:
    """A whole request, and gone before the answer."""
    writer.write(_announce(len(picture)) + picture)
    await writer.drain()


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, picture: bytes) -> None:
    """Half a body, and then nothing."""
    writer.write(_announce(len(picture)) + picture[:100])
    await reader.read()


async def trickle_header(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes
) -> None:
    """A byte of a header now and then."""
    writer.write(_HEAD.encode() + b"X-Slow: ")
    await _trickle(reader, writer)


async def trickle_refused_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes
) -> None:
    """A byte now and then of a body that was refused by its content type."""
    head = _HEAD.replace("image/jpeg", "text/plain")
    writer.write(f"{head}Content-Length: 100000\r\n\r\n".encode())
    await _trickle(reader, writer)


async def send_for_ever(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes
) -> None:
    """Chunks beyond the limit."""
    writer.write(f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
    for _chunk in range(20):
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()
    await reader.read()


async def ask_and_never_read(
    _: asyncio.StreamReader, writer: asyncio.StreamWriter, picture: bytes
) -> None:
    """Many requests at once, whose answers nobody takes."""
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    writer.write((_announce(len(picture)) + picture) * 20)
    await asyncio.sleep(2)


MANNERS: Final[tuple[Manner, ...]] = (
    leave_while_sending,
    leave_while_waiting,
    stall,
    trickle_header,
    trickle_refused_body,
    send_for_ever,
    ask_and_never_read,
)


class Rudeness:
    """All of these, by lot, while the block runs; in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._done = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    async def _run(self) -> None:
        lot = Random(2)  # noqa: S311
        picture = encode("JPEG")
        tasks: set[asyncio.Task[None]] = set()
        while not self._done.is_set():
            if len(tasks) < _MOST_AT_ONCE:
                task = asyncio.create_task(self._visit(lot.choice(MANNERS), picture))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(lot.expovariate(RATE))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _visit(self, manner: Manner, picture: bytes) -> None:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            name = manner.__name__.replace("_", " ")
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await manner(reader, writer, picture)
                self.counts[name] += 1
            except TimeoutError:
                self.counts[f"{name}: still there after {_PATIENCE_SECONDS:g} s"] += 1
            finally:
                writer.transport.abort()


async def _trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send on until the server has had enough."""
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(b"x")
        await asyncio.wait({ended}, timeout=0.5)
    await ended


def _announce(length: int) -> bytes:
    assert length < LIMIT_BYTES
    return f"{_HEAD}Content-Length: {length}\r\n\r\n".encode()
