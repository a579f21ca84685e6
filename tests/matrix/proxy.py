"""A TLS-terminating proxy between the operator and the API server, which does as it is told.

It has an authority of its own, hands the bearer token on, streams watches event by event,
counts every request, and applies the rules that a test adds. It runs in a thread with an
event loop; tests talk to it from theirs.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

from localnode.controlplane import ControlPlane, free_port
from localnode.pki import Authority
from matrix.calls import Call, Matches, parse_call
from matrix.faults import (
    Action,
    Answer,
    BrokenStreamError,
    EventAction,
    EventRule,
    Exchange,
    MatchesEvent,
    Rule,
    Then,
)

_NOT_PASSED: Final = frozenset(
    {"host", "connection", "transfer-encoding", "content-length", "accept-encoding"}
)
_LONGEST_EVENT: Final = 2**23
_CLOSING_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request and when it came."""

    at: float
    call: Call


class FaultProxy:
    """The proxy; a context manager."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        authority = Authority(folder / "pki")
        names = ("IP:127.0.0.1", "DNS:localhost")
        self._certificate = authority.sign("proxy", common_name="fault-proxy", names=names)
        self.ca_file = authority.certificate
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.seen: list[Seen] = []
        self._upstream = plane.internal_url
        self._upstream_ca = plane.ca_file
        self._rules: list[Rule] = []
        self._event_rules: list[EventRule] = []
        self._streams: list[tuple[web.Request, Call]] = []  # requests have no hash
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._session: aiohttp.ClientSession

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20), "the proxy does not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    @contextmanager
    def fault(self, matches: Matches, act: Action, times: int | None = None) -> Iterator[Rule]:
        """Requests that match meet the action, so many times or until the block ends."""
        rule = Rule(matches=matches, act=act, left=times)
        self._rules.append(rule)
        try:
            yield rule
        finally:
            self._rules.remove(rule)

    @contextmanager
    def event_fault(
        self, matches: MatchesEvent, act: EventAction, times: int | None = None
    ) -> Iterator[EventRule]:
        """Events of watches that match meet the action."""
        rule = EventRule(matches=matches, act=act, left=times)
        self._event_rules.append(rule)
        try:
            yield rule
        finally:
            self._event_rules.remove(rule)

    def break_streams(self, matches: Matches) -> int:
        """Break the watches that match; return how many there were."""
        hit = [request for request, call in list(self._streams) if matches(call)]
        for request in hit:
            self._loop.call_soon_threadsafe(_abort, request)
        return len(hit)

    def since(self, start: float) -> list[Call]:
        """The requests since a moment of `time.monotonic`."""
        return [it.call for it in list(self.seen) if it.at >= start]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            # Connections that were aborted are closed by the loop's next turns.
            self._loop.run_until_complete(asyncio.sleep(_CLOSING_SECONDS))
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        upstream = ssl.create_default_context(cafile=str(self._upstream_ca))
        connector = aiohttp.TCPConnector(limit=0, ssl=upstream)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=_LONGEST_EVENT
        ) as self._session:
            app = web.Application(client_max_size=2**26)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(
                app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
            )
            await runner.setup()
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self._certificate)
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context).start()
            self._ready.set()
            await self._stop.wait()
            for request, _ in list(self._streams):
                _abort(request)
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = parse_call(request.method, request.path, request.query, request.headers)
        self.seen.append(Seen(at=time.monotonic(), call=call))
        body = await request.read()

        async def forward() -> Answer:
            return await self._forward(request, body)

        rule = next((it for it in list(self._rules) if it.takes(call)), None)
        verdict: Answer | Then = Then.PASS
        try:
            if rule is not None:
                verdict = await rule.act(Exchange(call=call, forward=forward))
            if verdict is Then.PASS:
                if call.is_watch:
                    return await self._stream(request, call)
                verdict = await forward()
        except aiohttp.ClientError:
            verdict = Then.DROP  # the real one is away
        if not isinstance(verdict, Answer):
            _abort(request)
            return web.Response()
        headers = {"Content-Type": "application/json"} | verdict.headers
        if verdict.bytes_per_second is not None:
            return await _drip(request, verdict, headers)
        return web.Response(status=verdict.status, body=verdict.body, headers=headers)

    async def _forward(self, request: web.Request, body: bytes) -> Answer:
        async with self._session.request(
            request.method,
            self._upstream + request.raw_path,
            headers=_passed_headers(request),
            data=body or None,
        ) as upstream:
            text = await upstream.read()
            kept = {name: upstream.headers[name] for name in _KEPT if name in upstream.headers}
            return Answer(status=upstream.status, body=text, headers=kept)

    async def _stream(self, request: web.Request, call: Call) -> web.StreamResponse:
        async with self._session.get(
            self._upstream + request.raw_path, headers=_passed_headers(request)
        ) as upstream:
            response = web.StreamResponse(
                status=upstream.status, headers={"Content-Type": "application/json"}
            )
            await response.prepare(request)
            self._streams.append((request, call))
            try:
                async for line in upstream.content:
                    for part in await self._pass_event(call, line):
                        await response.write(part)
                await response.write_eof()
            except (BrokenStreamError, aiohttp.ClientError, ConnectionError):
                _abort(request)
            finally:
                self._streams.remove((request, call))
            return response

    async def _pass_event(self, call: Call, line: bytes) -> list[bytes]:
        if not self._event_rules:
            return [line]
        event: dict[str, Any] = json.loads(line)
        rule = next((it for it in list(self._event_rules) if it.takes(call, event)), None)
        return [line] if rule is None else await rule.act(line)


_KEPT: Final = ("Content-Type", "Retry-After")


def _passed_headers(request: web.Request) -> dict[str, str]:
    return {name: it for name, it in request.headers.items() if name.lower() not in _NOT_PASSED}


async def _drip(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        for byte in answer.body:
            await response.write(bytes([byte]))
            await asyncio.sleep(1 / (answer.bytes_per_second or 1))
        await response.write_eof()
    except ConnectionError:
        _abort(request)  # nobody waits so long
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
