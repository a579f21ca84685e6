"""A Service on loopback: it gives each new connection to one of its endpoints, as kube-proxy does.

What is taken off the list gets no new connection; those that it has stay with it, until either
side ends them.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

_CHUNK = 65_536


class LocalService:
    """One listener; runs in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._endpoints: Sequence[int] = ()
        self._turns = count()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._stop = asyncio.Event()
        self._relays: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Return where clients go."""
        return f"http://127.0.0.1:{self.port}/predict"

    def set_endpoints(self, *ports: int) -> None:
        """From now on new connections go to these, in turn."""
        self._endpoints = ports

    def run(self) -> None:
        """Relay until told to stop."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def wait(self) -> None:
        """Return once it listens."""
        assert self._listening.wait(10)

    def stop(self) -> None:
        """End it, and every connection through it."""
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            self._relays.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoints = self._endpoints
        port = endpoints[next(self._turns) % len(endpoints)]
        with suppress(OSError):  # the client sees that nobody listens
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                ways = {
                    asyncio.create_task(_copy(reader, back_writer)),
                    asyncio.create_task(_copy(back_reader, writer)),
                }
                _, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in pending:
                    way.cancel()
            finally:
                back_writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


@contextmanager
def a_service(*endpoints: int) -> Iterator[LocalService]:
    """Run one within the block."""
    service = LocalService()
    service.set_endpoints(*endpoints)
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    service.wait()
    yield service
    service.stop()
    thread.join(10)
