"""Clients that keep connections without using them, over real sockets and with short times."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from igw_runtime.serving.connections import (
    CROWDED,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    MAX_CONNECTIONS,
    BoundedProtocol,
    Crowd,
    Phase,
    choose_limits,
    choose_most,
)
from igw_runtime.settings import ServingSettings
from igw_runtime.telemetry.metrics import CUT_REASONS
from runtime_kit.process import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]
LONG = 20.0
SHORT = 0.15
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(slots=True, kw_only=True)
class Door:
    """A listener with a few connections' worth of room, and what happened at it."""

    port: int
    crowd: Crowd
    state: ServerState
    gate: asyncio.Event
    cuts: Counter[str]
    made: list[BoundedProtocol] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection; return once the server knows of it."""
        before = len(self.made)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        async with asyncio.timeout(5):
            await until(lambda: len(self.made) > before)
        return reader, writer


@asynccontextmanager
async def a_door(*, most: int = 10, **limits: float) -> AsyncIterator[Door]:
    """Serve with these limits; all others are too long to be met here."""
    gate = asyncio.Event()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        size = 2
        if scope["path"] == "/wait":
            await gate.wait()
        if scope["path"] == "/large":
            size = 50_000_000
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})

    cuts: Counter[str] = Counter()
    crowd = Crowd(most, dict.fromkeys(Phase, LONG) | named(limits), lambda it: cuts.update([it]))
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    port = free_port()
    door = Door(port=port, crowd=crowd, state=state, gate=gate, cuts=cuts)

    def make() -> BoundedProtocol:
        made = BoundedProtocol(config=config, server_state=state, app_state={}, crowd=crowd)
        door.made.append(made)
        return made

    server = await loop.create_server(make, "127.0.0.1", port)
    yield door
    gate.set()
    server.close()
    for writer in door.writers:
        writer.close()
    for connection in list(state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)


def named(limits: Mapping[str, float]) -> dict[Phase, float]:
    """Return limits by phase."""
    return {Phase(name): seconds for name, seconds in limits.items()}


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Make one request; return its status."""
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    return int(head.split()[1])


async def trickle(writer: asyncio.StreamWriter, data: bytes = b"x") -> None:
    """Send a byte now and then until the connection is gone."""
    while not writer.is_closing():
        writer.write(data)
        await asyncio.sleep(SHORT / 5)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what the server does in its own time."""
    while not condition():  # noqa: ASYNC110  nobody tells when
        await asyncio.sleep(0.01)


def never_read(writer: asyncio.StreamWriter) -> None:
    """Take no answer from the kernel."""
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server ends the connection, politely or not."""
    received = b""
    try:
        while chunk := await reader.read(65_536):
            received += chunk
    except ConnectionError:
        pass
    return received


async def test_header_that_trickles_in_is_not_waited_for() -> None:
    """No byte prolongs it, and who sends it is told why."""
    async with a_door(head=SHORT) as door, asyncio.timeout(5):
        reader, writer = await door.connect()
        writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        sending = asyncio.create_task(trickle(writer))
        answer = await read_to_end(reader)
        sending.cancel()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert door.cuts == {"head": 1}


async def test_second_header_on_a_connection_has_the_same_time() -> None:
    """A good first request is no licence."""
    async with a_door(head=SHORT) as door, asyncio.timeout(5):
        reader, writer = await door.connect()
        assert await ask(reader, writer) == 200
        writer.write(b"GET")
        answer = await read_to_end(reader)

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_body_that_nobody_wants_is_not_waited_for() -> None:
    """After an early answer the rest may still come, but not for ever."""
    async with a_door(rest=SHORT) as door, asyncio.timeout(5):
        reader, writer = await door.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        sending = asyncio.create_task(trickle(writer))
        answer = await read_to_end(reader)
        sending.cancel()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert door.cuts == {"rest": 1}


async def test_rest_of_a_body_that_comes_in_time_costs_no_connection() -> None:
    """Who was answered early sends the rest, and asks again."""
    async with a_door(rest=LONG) as door, asyncio.timeout(5):
        reader, writer = await door.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        writer.write(b"body")

        assert await ask(reader, writer) == 200


async def test_answer_that_nobody_reads_ends_the_connection() -> None:
    """Closing alone would wait for it to be read, for ever."""
    async with a_door(waiting=SHORT) as door, asyncio.timeout(5):
        _, writer = await door.connect()
        never_read(writer)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: not len(door.crowd))

    assert door.cuts == {"waiting": 1}


async def test_close_that_the_client_does_not_read_up_to_ends() -> None:
    """Also where the answer said that it is the last one."""
    async with a_door(closing=SHORT) as door, asyncio.timeout(5):
        _, writer = await door.connect()
        never_read(writer)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await until(lambda: not door.state.connections)

    assert door.cuts == {"closing": 1}


async def test_unused_connection_ends_quietly() -> None:
    """As in any server; it is no fault of anybody's."""
    async with a_door(waiting=SHORT) as door, asyncio.timeout(5):
        reader, _ = await door.connect()

        assert await read_to_end(reader) == b""
        assert door.cuts == {}


async def test_request_being_worked_on_is_left_alone() -> None:
    """The times of a connection are not those of a request."""
    async with a_door(waiting=SHORT, head=SHORT, rest=SHORT) as door, asyncio.timeout(5):
        reader, writer = await door.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(2 * SHORT)
        door.gate.set()

        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_pipelined_requests_are_answered_in_turn() -> None:
    """What was sent ahead is no header that trickles in."""
    async with a_door(head=SHORT) as door, asyncio.timeout(5):
        reader, writer = await door.connect()
        writer.write(GET * 3 + GET[:9])
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(2)

        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")


async def test_longest_unused_connection_makes_room() -> None:
    """Whoever has a request, or just had one, stays; a new client gets in."""
    async with a_door(most=3) as door, asyncio.timeout(5):
        first, old, used = [await door.connect() for _ in range(3)]
        first[1].write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await ask(*used) == 200
        await door.connect()

        assert await read_to_end(old[0]) == b""
        assert door.cuts == {CROWDED: 1}
        door.gate.set()
        assert (await first[0].readline()).startswith(b"HTTP/1.1 200 ")
        assert await ask(*used) == 200


async def test_crowd_of_slow_headers_keeps_nobody_out() -> None:
    """A hundred of them are as many as there may be; the next client is served."""
    async with a_door(most=100) as door, asyncio.timeout(10):
        for _ in range(130):
            _, writer = await door.connect()
            writer.write(b"GET / HTT")
        reader, writer = await door.connect()

        assert await ask(reader, writer) == 200
        assert len(door.crowd) == 100
        assert door.cuts == {CROWDED: 31}


async def test_newest_goes_where_all_others_are_busy() -> None:
    """Work that was begun is finished."""
    async with a_door(most=1) as door, asyncio.timeout(5):
        busy = await door.connect()
        busy[1].write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: door.state.tasks)
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        assert await read_to_end(reader) == b""
        writer.close()
        door.gate.set()

        assert (await busy[0].readline()).startswith(b"HTTP/1.1 200 ")


async def test_end_of_the_server_spares_a_request_on_its_way() -> None:
    """Half a header is somebody's request, and so is what nobody has read yet."""
    async with a_door() as door, asyncio.timeout(5):
        unused, half, unread = [await door.connect() for _ in range(3)]
        half[1].write(GET[:9])
        await until(lambda: door.made[1]._phase is Phase.HEAD)
        unread[1].write(GET)
        for connection in door.made:
            connection.shutdown()
        half[1].write(GET[9:])

        assert await unused[0].read() == b""
        for reader, _ in (half, unread):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


def test_limits_leave_the_application_its_own_times() -> None:
    """What may rightly take long is not cut; a header may not, nor a client's keeping."""
    changes = {"timeout_seconds": 600.0, "body_timeout_seconds": 60.0}
    serving = ServingSettings().model_copy(update=changes)

    limits = choose_limits(serving)

    assert set(limits) == set(Phase)
    assert limits[Phase.BUSY] > 660
    assert limits[Phase.HEAD] == HEAD_SECONDS
    # Go keeps idle connections for 90 s, load balancers of clouds for up to 600, Envoy for 3600.
    assert limits[Phase.WAITING] == KEEP_ALIVE_SECONDS > 3600
    assert {*Phase, CROWDED} == set(CUT_REASONS)


def test_there_are_files_for_all_connections() -> None:
    """The limit of open files is raised as far as it goes, and the rest is left to others."""
    assert 1 <= choose_most() <= MAX_CONNECTIONS
