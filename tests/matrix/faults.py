"""What may happen to a request on its way, and to an event of a watch.

An action gets the exchange and says how it ends: an `Answer` of its own, `Then.PASS` (as
ever) or `Then.DROP` (the connection breaks). `proxy` runs them; tests choose them.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from random import Random
from typing import Any

from matrix.calls import Call, Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    bytes_per_second: float | None = None


class Then(Enum):
    """How an exchange goes on without an answer of the fault's own."""

    PASS = auto()
    DROP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request, and the way to the real API server."""

    call: Call
    forward: Callable[[], Awaitable[Answer]]


Action = Callable[[Exchange], Awaitable[Answer | Then]]
EventAction = Callable[[bytes], Awaitable[list[bytes]]]
MatchesEvent = Callable[[Call, dict[str, Any]], bool]


class BrokenStreamError(Exception):
    """The stream ends here, without a word."""


@dataclass(slots=True, kw_only=True)
class Rule:
    """A fault, whom it hits, and how often it still may and did."""

    matches: Matches
    act: Action
    left: int | None = None
    hits: int = 0

    def takes(self, call: Call) -> bool:
        """Whether the call is hit; counts it."""
        if self.left == 0 or not self.matches(call):
            return False
        self.left = None if self.left is None else self.left - 1
        self.hits += 1
        return True


@dataclass(slots=True, kw_only=True)
class EventRule:
    """A fault of events of watches."""

    matches: MatchesEvent
    act: EventAction
    left: int | None = None
    hits: int = 0

    def takes(self, call: Call, event: dict[str, Any]) -> bool:
        """Whether the event is hit; counts it."""
        if self.left == 0 or not self.matches(call, event):
            return False
        self.left = None if self.left is None else self.left - 1
        self.hits += 1
        return True


class Gate:
    """Closed until a test opens it; asked by the proxy's thread."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        """Let all pass that wait, and all that come."""
        self._open.set()

    async def passed(self) -> None:
        """Wait until it is open."""
        while not self._open.is_set():  # noqa: ASYNC110 - another thread opens it
            await asyncio.sleep(0.02)


def refusal(status: int, reason: str = "Injected", *, retry_after: int | None = None) -> Action:
    """The API server says no."""
    message = f"a fault that was injected: {status}"
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    answer = Answer(
        status=status,
        body=json.dumps(body | {"reason": reason, "message": message}).encode(),
        headers={} if retry_after is None else {"Retry-After": str(retry_after)},
    )

    async def act(_: Exchange) -> Answer:
        return answer

    return act


def watch_error(code: int) -> Action:
    """A watch that begins with an ERROR event."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    reason = {"reason": "Expired" if code == 410 else "InternalError", "message": "injected"}
    line = json.dumps({"type": "ERROR", "object": status | reason}).encode() + b"\n"
    return raw(line)


def raw(body: bytes) -> Action:
    """A watch that is exactly these bytes."""

    async def act(_: Exchange) -> Answer:
        return Answer(status=200, body=body)

    return act


async def drop(_: Exchange) -> Then:
    """The connection breaks before the request arrives."""
    return Then.DROP


async def lose(exchange: Exchange) -> Then:
    """The request arrives; the connection breaks before its answer does."""
    await exchange.forward()
    return Then.DROP


def hang_after_commit(seconds: float) -> Action:
    """The request arrives; its answer does not, for longer than anybody waits."""

    async def act(exchange: Exchange) -> Then:
        await exchange.forward()
        await asyncio.sleep(seconds)
        return Then.DROP

    return act


def hang(seconds: float) -> Action:
    """Nothing arrives and nothing is said."""

    async def act(_: Exchange) -> Then:
        await asyncio.sleep(seconds)
        return Then.DROP

    return act


def slow(seconds: float) -> Action:
    """Everything takes its time."""

    async def act(_: Exchange) -> Then:
        await asyncio.sleep(seconds)
        return Then.PASS

    return act


def drip(bytes_per_second: float) -> Action:
    """The request is carried out at once; its answer comes byte by byte."""

    async def act(exchange: Exchange) -> Answer:
        return replace(await exchange.forward(), bytes_per_second=bytes_per_second)

    return act


def by_chance(share: float, *actions: Action, seed: int = 1) -> Action:
    """One of the actions for a share of the requests; the seed makes it the same each time."""
    random = Random(seed)  # noqa: S311 - no secret

    async def act(exchange: Exchange) -> Answer | Then:
        if random.random() >= share:
            return Then.PASS
        return await random.choice(actions)(exchange)

    return act


def before_commit(strike: Callable[[], None]) -> Action:
    """Something happens to the operator just before its request arrives, and it does not."""

    async def act(_: Exchange) -> Then:
        strike()
        return Then.DROP

    return act


def after_commit(strike: Callable[[], None]) -> Action:
    """Something happens to the operator after its request was carried out."""

    async def act(exchange: Exchange) -> Then:
        await exchange.forward()
        strike()
        return Then.DROP

    return act


async def swallow(_: bytes) -> list[bytes]:
    """An event that never comes."""
    return []


async def duplicate(line: bytes) -> list[bytes]:
    """An event that comes three times."""
    return [line] * 3


def hold(gate: Gate) -> EventAction:
    """An event that comes when the gate opens, and all behind it too."""

    async def act(line: bytes) -> list[bytes]:
        await gate.passed()
        return [line]

    return act


def replay() -> EventAction:
    """Each event is followed by the old ones of its kind, again."""
    history: dict[str, list[bytes]] = {}

    async def act(line: bytes) -> list[bytes]:
        told = history.setdefault(json.loads(line)["object"]["kind"], [])
        again = told[-20:]
        told.append(line)
        return [line, *again]

    return act
