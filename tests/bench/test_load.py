import asyncio
import json
import math
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest

import bench.load as load_module
from bench.load import (
    AnswerReader,
    BrokenAnswerError,
    Connection,
    Load,
    Report,
    Sample,
    build_request,
    build_schedule,
    find_address,
    percentile,
)
from bench.sending import running, send


def test_arrivals_are_poisson_and_the_same_for_a_seed() -> None:
    """As many as the rate says, gaps exponential: their deviation is their mean."""
    times = build_schedule(50, 400, seed=3)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times == build_schedule(50, 400, seed=3) != build_schedule(50, 400, seed=4)
    assert times == sorted(times)
    assert build_schedule(10, 1, seed=3, steady=True) == pytest.approx([n / 10 for n in range(10)])
    assert 0 < times[0] <= times[-1] < 400
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert statistics.mean(gaps) == pytest.approx(0.02, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)]
)
def test_a_percentile_is_a_value_that_occurred(percent: float, expected: float) -> None:
    """Of the numbers from 1 to 100, in any order."""
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_nothing_has_no_percentile() -> None:
    """It must not look like a latency of zero."""
    assert math.isnan(percentile([], 99))


def a_report(*samples: Sample, seconds: float = 10) -> Report:
    """Return what a load of ten seconds reports."""
    return Report(began=0, seconds=seconds, cpu_seconds=0, samples=samples)


def a_sample(
    intended: float, *, took: float = 0.1, lag: float = 0, status: int = 200, fault: str = ""
) -> Sample:
    """Return a request that was answered soon, unless told otherwise."""
    return Sample(intended, intended + lag, intended + took, status, fault, reused=True)


def test_latency_counts_from_when_a_request_was_to_be_sent() -> None:
    """A generator that was held up by the server has not saved it anything."""
    report = a_report(a_sample(1, took=3, lag=2.5))
    assert report.latency(50) == 3
    assert report.lag_seconds == 2.5


def test_only_answers_in_time_are_good() -> None:
    """Late ones and refusals are answers, but nobody is served by them."""
    report = a_report(
        a_sample(0), a_sample(5), a_sample(6, took=2), a_sample(7, status=503), a_sample(9.95)
    )
    assert report.goodput(within_seconds=1) == 3 / 10
    assert report.goodput(within_seconds=1, after=5) == 2 / 5
    assert report.throughput() == 3 / 10
    assert report.throughput(after=5) == 2 / 5
    assert report.faults == {"503": 1}


def test_a_report_survives_its_way_between_processes() -> None:
    """What is read is what was written."""
    report = a_report(a_sample(0), a_sample(1, status=0, fault="cut short"))
    assert Report.from_json(report.to_json()).samples == list(report.samples)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": 2}, "either a rate or clients"),
        ({"rate": 0}, "either a rate or clients"),
        ({"seconds": 7200}, "at most 3600 seconds"),
        ({"rate": 1000, "seconds": 3000}, "200000 requests"),
    ],
)
def test_a_load_is_bounded(changes: dict[str, Any], message: str) -> None:
    """Nobody sends one for ever, or one that is neither open nor closed."""
    content: dict[str, Any] = {"url": "http://127.0.0.1/", "bodies": [b""], "seconds": 1, "rate": 1}
    with pytest.raises(ValueError, match=message):
        Load(**content | changes)


def test_a_load_goes_to_private_addresses_only() -> None:
    """It cannot be pointed at somebody else's server by mistake."""
    assert find_address("http://127.0.0.1:8080/predict") == ("127.0.0.1", 8080)
    assert find_address("http://10.1.2.3/predict") == ("10.1.2.3", 80)
    with pytest.raises(ValueError, match=r"93\.184\.216\.34 is no address of this machine"):
        find_address("http://93.184.216.34/")


@pytest.mark.parametrize(
    ("text", "body", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            b"abcd",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ],
)
def test_answers_are_read_however_they_arrive(text: bytes, body: bytes, *, reusable: bool) -> None:
    """At once, or byte by byte: complete with the last byte and not before."""
    for step in (1, 7, len(text)):
        reader = AnswerReader()
        answers = [reader.feed(text[at : at + step]) for at in range(0, len(text), step)]
        assert answers[:-1] == [None] * (len(answers) - 1)
        assert answers[-1] is not None
        assert (answers[-1].body, answers[-1].reusable) == (body, reusable)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """But one that is cut short is none."""
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nsome") is None
    assert reader.end().body == b"some"
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome") is None
    with pytest.raises(BrokenAnswerError, match="cut short"):
        reader.end()
    with pytest.raises(BrokenAnswerError, match="without an answer"):
        AnswerReader().end()
    with pytest.raises(BrokenAnswerError, match="not HTTP"):
        AnswerReader().feed(b"SSH-2.0-x\r\n\r\n")


def test_a_request_says_where_it_goes_and_how_long_it_is() -> None:
    """Byte for byte, because no library checks it."""
    assert build_request("http://10.0.0.1:80/a?b=c", {"X-Y": "z"}, b"body", close=True) == (
        b"POST /a?b=c HTTP/1.1\r\nHost: 10.0.0.1:80\r\nX-Y: z\r\nContent-Length: 4\r\n"
        b"Connection: close\r\n\r\nbody"
    )


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"slow":
            sleep(1)
        self.send_response(503 if body == b"bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the client may have left
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    connections = 0
    daemon_threads = True

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.connections += 1
        return super().verify_request(request, client_address)


@contextmanager
def a_server() -> Iterator[tuple[_Server, str]]:
    """Listen within the block; return also where."""
    server = _Server(("127.0.0.1", 0), _Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.integration
def test_a_load_is_sent_as_it_was_planned() -> None:
    """Every request of the schedule, bodies in turn, on connections that are kept, or not."""
    with a_server() as (server, url):
        report = send(Load(url=url, bodies=[b"good", b"bad"], rate=100, seconds=1, seed=5))
        assert len(report.samples) == len(build_schedule(100, 1, 5))
        assert abs(len(report.answered) - len(report.failed)) <= 1
        assert set(report.faults) == {"503"}
        kept = server.connections
        report = send(Load(url=url, bodies=[b"good"], rate=50, seconds=1, fresh_ratio=1))
        assert not report.failed
        assert server.connections - kept == len(report.samples) > kept
        assert not any(it.reused for it in report.samples)


@pytest.mark.integration
def test_a_load_can_be_ended_early_and_loses_no_answer() -> None:
    """Requests that are out are waited for; those that were still to come are not sent."""
    with (
        a_server() as (_, url),
        running(Load(url=url, bodies=[b"slow"], rate=50, seconds=60)) as on,
    ):
        sleep(0.5)
        report = on.stop()
    assert report.samples
    assert not report.failed
    assert report.seconds < 30
    assert report.samples[-1].ended >= 1


@pytest.mark.integration
def test_clients_ask_again_when_they_are_answered() -> None:
    """A closed loop has as many requests out as it has clients, and needs no more connections."""
    with a_server() as (server, url):
        report = send(Load(url=url, bodies=[b"good"], clients=3, seconds=0.5))
        assert len(report.answered) > 10
        assert server.connections == 3


@pytest.mark.integration
def test_what_is_not_answered_is_a_failure_and_says_why() -> None:
    """Nobody listens, nobody answers in time."""

    async def close_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def closing() -> Report:
        server = await asyncio.start_server(close_at_once, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server:
            return await asyncio.to_thread(
                send, Load(url=url, bodies=[b"x"], rate=20, seconds=0.5, seed=1)
            )

    report = asyncio.run(closing())
    assert not report.answered
    assert report.samples
    with a_server() as (_, url):
        slow = send(Load(url=url, bodies=[b"slow"], rate=20, seconds=0.3, timeout_seconds=0.2))
        nobody = url
    assert set(slow.faults) == {"no answer within 0.2 s"}
    assert all(it.seconds < 0.9 for it in slow.samples)
    refused = send(Load(url=nobody, bodies=[b"x"], rate=20, seconds=0.3))
    assert len(refused.failed) == len(refused.samples) > 0


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    """Also if the generator was too busy to notice: no pool of a client would send on it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = await Connection.open("127.0.0.1", listener.getsockname()[1])
        peer, _ = listener.accept()
        before = (connection.alive, connection.silent)
        peer.close()
        sleep(0.05)  # noqa: ASYNC251  the event loop is to notice nothing
        after = (connection.alive, connection.silent)
        connection.close()

    assert (before, after) == ((True, True), (True, False))


@pytest.mark.integration
def test_the_generator_runs_where_the_project_is_not() -> None:
    """Its text is enough, and it may tell what becomes of each request at once."""
    source = Path(load_module.__file__).read_text()
    with a_server() as (_, url):
        plan = Load(url=url, bodies=[b"good"], rate=50, seconds=0.3, tell=True).to_json()
        done = subprocess.run(
            [sys.executable, "-I", "-c", source],
            input=plan,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    _, *samples, report = done.stdout.splitlines()
    told = sorted(Sample(*json.loads(line)) for line in samples)
    assert told
    assert told == Report.from_json(report).samples
