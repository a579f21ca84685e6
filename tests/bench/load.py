"""Requests at given times, whatever becomes of them: a load generator.

Open loop: requests arrive as a Poisson process of a seed, and each one's latency counts from when
it was *to be* sent, so that a server (or generator) that stalls hides nothing (no coordinated
omission). Closed loop: so many clients, each asking again when it has its answer, find out what a
server can do at most. Bounded in time and number; private addresses only. Nothing is ever sent
twice.

`bench.sending` runs it in a process of its own. This file needs nothing but Python, so that its
text can be run where the project is not: `python3 -c "$(cat load.py)" <plan`, where the plan is
what `Load.to_json` wrote. A library for HTTP would take as much of the machine as some of the
servers that are measured.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import ipaddress
import json
import math
import os
import random
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

MAX_REQUESTS: Final = 200_000
MAX_SECONDS: Final = 3600.0
_OK: Final = 200
_END_OF_HEAD: Final = b"\r\n\r\n"
_LINE: Final = b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent where, and when; either a rate or a number of clients."""

    url: str
    bodies: Sequence[bytes]
    """Taken in turn."""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float
    rate: float = 0.0
    """Open loop: requests a second."""
    steady: bool = False
    """Open loop: the same gap between all, instead of a Poisson process."""
    clients: int = 0
    """Closed loop."""
    seed: int = 0
    fresh_ratio: float = 0.0
    """Of how many requests each has a connection of its own; the others' are kept and reused."""
    timeout_seconds: float = 10.0
    max_connections: int = 1000
    cores: Sequence[int] = ()
    """Processors on which the generator may run; empty is all."""
    tell: bool = False
    """Whether each sample is a line of output as soon as it is known, too."""

    def __post_init__(self) -> None:
        if (self.rate > 0) == (self.clients > 0):
            message = "a load has either a rate or clients"
            raise ValueError(message)
        if not 0 < self.seconds <= MAX_SECONDS or self.rate * self.seconds > MAX_REQUESTS:
            message = f"at most {MAX_SECONDS:.0f} seconds and {MAX_REQUESTS} requests"
            raise ValueError(message)

    def to_json(self) -> str:
        """Write the plan down, in one line."""
        bodies = [base64.b64encode(it).decode() for it in self.bodies]
        return json.dumps(asdict(self) | {"bodies": bodies})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a plan."""
        content = json.loads(text)
        return cls(**content | {"bodies": [base64.b64decode(it) for it in content["bodies"]]})


class Sample(NamedTuple):
    """One request; times in seconds since the load began."""

    intended: float
    started: float
    """When the generator got to it: later than intended if the machine was too busy for it."""
    ended: float
    status: int
    """0 if there was no answer."""
    fault: str
    """Why there was none."""
    reused: bool
    """Whether it went out on a connection that had been used before."""

    @property
    def seconds(self) -> float:
        """From when it was to be sent, until its answer was there or given up."""
        return self.ended - self.intended


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of all requests."""

    began: float
    """By `time.monotonic()`, which all processes of a machine share."""
    seconds: float
    """For how long requests were sent."""
    cpu_seconds: float
    """What the generator took of the machine."""
    samples: Sequence[Sample]

    @property
    def answered(self) -> list[Sample]:
        """Return the requests with an answer of 200."""
        return [it for it in self.samples if it.status == _OK]

    @property
    def failed(self) -> list[Sample]:
        """Return all others."""
        return [it for it in self.samples if it.status != _OK]

    @property
    def faults(self) -> Mapping[str, int]:
        """Return how often what went wrong: a status, or what the connection said."""
        return dict(Counter(it.fault or str(it.status) for it in self.failed))

    @property
    def lag_seconds(self) -> float:
        """Return by how much the generator was late, 99th percentile."""
        return percentile([it.started - it.intended for it in self.samples], 99)

    def latency(self, percent: float) -> float:
        """Return a percentile of the answered requests' latencies, in seconds."""
        return percentile([it.seconds for it in self.answered], percent)

    def throughput(self, *, after: float = 0.0) -> float:
        """Return how many answers a second came, from `after` until no more was sent."""
        came = [it for it in self.answered if after <= it.ended <= self.seconds]
        return len(came) / (self.seconds - after)

    def goodput(self, *, within_seconds: float, after: float = 0.0) -> float:
        """Return how many requests a second, of those sent from `after` on, succeeded in time."""
        good = [it for it in self.answered if it.intended >= after and it.seconds <= within_seconds]
        return len(good) / (self.seconds - after)

    def to_json(self) -> str:
        """Write it down for another process."""
        return json.dumps(asdict(self) | {"samples": self.samples})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what another process wrote."""
        content = json.loads(text)
        return cls(**content | {"samples": [Sample(*it) for it in content["samples"]]})


def build_schedule(rate: float, seconds: float, seed: int, *, steady: bool = False) -> list[float]:
    """Return when requests arrive, in seconds: gaps are exponential, and the same for a seed."""
    if steady:
        return [number / rate for number in range(math.ceil(rate * seconds))]
    lot = random.Random(seed)  # noqa: S311  to be the same again is the point
    times: list[float] = []
    at = lot.expovariate(rate)
    while at < seconds:
        times.append(at)
        at += lot.expovariate(rate)
    return times


def find_address(url: str) -> tuple[str, int]:
    """Look a URL's host up, once; it must be of this machine or of a private network."""
    parts = urlsplit(url)
    infos = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    address, port = infos[0][4][:2]
    if not ipaddress.ip_address(address).is_private:
        message = f"{parts.hostname} is no address of this machine, or of a private network"
        raise ValueError(message)
    return str(address), int(port)


def build_request(url: str, headers: Mapping[str, str], body: bytes, *, close: bool) -> bytes:
    """Return a request as it goes over the wire."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"Host": parts.netloc, **headers, "Content-Length": str(len(body))}
    if close:
        fields["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many per cent do not exceed; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[min(len(ordered), max(1, rank)) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said, whole."""

    status: int
    body: bytes
    reusable: bool
    """Whether the connection stays open for another request."""


class BrokenAnswerError(Exception):
    """What came is no HTTP, or was cut short."""


class AnswerReader:
    """Puts one answer together from what arrives."""

    def __init__(self) -> None:
        self._head: tuple[int, Mapping[bytes, bytes]] | None = None
        self._buffer = bytearray()
        self._chunks = bytearray()

    def feed(self, data: bytes) -> Answer | None:
        """Take what arrived; return the answer once it is complete."""
        self._buffer += data
        while self._head is None:
            head, end, rest = self._buffer.partition(_END_OF_HEAD)
            if not end:
                return None
            status, headers = _parse_head(bytes(head))
            self._buffer = rest
            if status >= 200:  # what is below announces another answer
                self._head = status, headers
        return self._read_body(*self._head)

    def end(self) -> Answer:
        """The connection was closed: an answer without a length is complete now."""
        if self._head is None or self._head[1].keys() & {b"content-length", b"transfer-encoding"}:
            message = "closed without an answer" if self._head is None else "cut short"
            raise BrokenAnswerError(message)
        return Answer(status=self._head[0], body=bytes(self._buffer), reusable=False)

    def _read_body(self, status: int, headers: Mapping[bytes, bytes]) -> Answer | None:
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            if not self._read_chunks():
                return None
            body = bytes(self._chunks)
        elif b"content-length" in headers:
            length = int(headers[b"content-length"])
            if len(self._buffer) < length:
                return None
            body = bytes(self._buffer[:length])
        elif status in {204, 304}:
            body = b""
        else:
            return None
        reusable = headers.get(b"connection", b"").lower() != b"close"
        return Answer(status=status, body=body, reusable=reusable)

    def _read_chunks(self) -> bool:
        """Take the chunks that are whole; true after the last."""
        while True:
            line, end, rest = self._buffer.partition(_LINE)
            if not end:
                return False
            size = int(line.partition(b";")[0], 16)
            if len(rest) < size + len(_LINE):
                return False
            self._chunks += rest[:size]
            self._buffer = rest[size + len(_LINE) :]
            if not size:
                return True


def _parse_head(head: bytes) -> tuple[int, Mapping[bytes, bytes]]:
    first, *lines = head.split(_LINE)
    version, _, rest = first.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        message = f"not HTTP: {first[:80]!r}"
        raise BrokenAnswerError(message)
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return int(rest[:3]), headers


class Connection(asyncio.Protocol):
    """One connection, one request on it at a time."""

    def __init__(self) -> None:
        self.used = 0
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect; raises `OSError`."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, host, port)
        return connection

    @property
    def alive(self) -> bool:
        """Whether the server has not hung up, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing has arrived that is still to be looked at.

        On an unused connection that can only be its end, which every pool looks for before it
        sends: the event loop may be too busy to have noticed.
        """
        if self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and wait for its answer; raises `BrokenAnswerError`."""
        if self._transport is None or not self.alive:
            message = "closed before the request"
            raise BrokenAnswerError(message)
        self.used += 1
        self._reader = AnswerReader()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            answer = await self._answer
        finally:
            self._answer = None
        if not answer.reusable or self._transport.get_write_buffer_size():
            self.close()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done() or self._reader is None:
            return
        try:
            answer = self._reader.feed(data)
        except (BrokenAnswerError, ValueError) as error:
            self._answer.set_exception(BrokenAnswerError(str(error)))
            self.close()
            return
        if answer is not None:
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is None or self._answer.done() or self._reader is None:
            return
        try:
            self._answer.set_result(self._reader.end())
        except BrokenAnswerError as error:
            self._answer.set_exception(BrokenAnswerError(f"{error}: {exc}" if exc else str(error)))


class _Generator:
    """Sends one load from this process."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._host, self._port = find_address(load.url)
        self._kept = [build_request(load.url, load.headers, it, close=False) for it in load.bodies]
        self._fresh = [build_request(load.url, load.headers, it, close=True) for it in load.bodies]
        self._lot = random.Random(load.seed + 1)  # noqa: S311
        self._idle: list[Connection] = []
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._samples: list[Sample] = []
        self._began = 0.0
        self._ends = load.seconds

    async def run(self) -> Report:
        """Send everything, wait for the last answer, report; SIGTERM ends the sending."""
        spent = time.process_time()
        self._began = time.monotonic()
        sending = asyncio.create_task(self._send_all())

        def stop() -> None:
            self._ends = min(self._ends, self._now())
            sending.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        # The parent may wait for this before it does something to the server.
        _print(json.dumps(self._began))
        with suppress(asyncio.CancelledError):
            await sending
        if self._tasks:
            await asyncio.wait(self._tasks)
        return Report(
            began=self._began,
            seconds=self._ends,
            cpu_seconds=time.process_time() - spent,
            samples=sorted(self._samples),
        )

    async def _send_all(self) -> None:
        if self._load.clients:
            for number in range(self._load.clients):
                self._start(self._be_client(number))
            await asyncio.sleep(self._load.seconds)
            return
        load = self._load
        schedule = build_schedule(load.rate, load.seconds, load.seed, steady=load.steady)
        for number, at in enumerate(schedule):
            await asyncio.sleep(max(0.0, at - self._now()))
            self._start(self._send(number, at))
        await asyncio.sleep(max(0.0, self._load.seconds - self._now()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # one that nobody holds may be collected
        task.add_done_callback(self._tasks.discard)

    async def _be_client(self, number: int) -> None:
        while self._now() < self._ends:
            await self._send(number, self._now())
            number += self._load.clients
            if self._samples[-1].status != _OK:
                await asyncio.sleep(0.01)  # who is refused at once must not become a busy loop

    async def _send(self, number: int, intended: float) -> None:
        """Send one request, and note what became of it."""
        started, status, fault, reused = self._now(), 0, "", False
        fresh = self._lot.random() < self._load.fresh_ratio
        requests = self._fresh if fresh else self._kept
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._load.timeout_seconds - (started - intended)):
                connection = await self._get_connection(fresh=fresh)
                reused = connection.used > 0
                answer = await connection.ask(requests[number % len(requests)])
                status = answer.status
        except TimeoutError:
            fault = f"no answer within {self._load.timeout_seconds:g} s"
        except (OSError, BrokenAnswerError) as error:
            fault = getattr(error, "strerror", None) or str(error)
        sample = Sample(intended, started, self._now(), status, fault, reused)
        self._samples.append(sample)
        if self._load.tell:
            _print(json.dumps(sample))
        if connection is not None:
            self._give_back(connection, whole=status > 0)

    async def _get_connection(self, *, fresh: bool) -> Connection:
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.alive and connection.silent:
                return connection
            connection.close()
            self._open -= 1
        if self._open >= self._load.max_connections:
            message = "the generator has no connection left"
            raise BrokenAnswerError(message)
        self._open += 1
        try:
            return await Connection.open(self._host, self._port)
        except BaseException:
            self._open -= 1
            raise

    def _give_back(self, connection: Connection, *, whole: bool) -> None:
        if whole and connection.alive:
            self._idle.append(connection)
        else:
            connection.close()
            self._open -= 1

    def _now(self) -> float:
        return time.monotonic() - self._began


def main() -> None:
    """Be that process: the plan comes in the first line of input, the report is the last of output.

    The first line of output says when the load began; samples may follow it.
    """
    load = Load.from_json(sys.stdin.readline())
    if load.cores:
        os.sched_setaffinity(0, load.cores)
    gc.disable()  # a load is short, and a round of collection would make requests late
    _print(asyncio.run(_generate(load)).to_json())


async def _generate(load: Load) -> Report:
    report = await _Generator(load).run()
    # Who ends it in this very moment is to have the report, too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    return report


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
