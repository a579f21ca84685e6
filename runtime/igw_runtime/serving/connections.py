"""How long a connection may do what, and how many there may be: what uvicorn leaves unbounded.

uvicorn has one limit, on the idle time between requests, and every byte lifts it: a client that
sends a byte of a header, or of a body that was refused, every few seconds keeps its connection for
ever (Kludex/uvicorn#157). File descriptors are finite, and probes need one, too.

    waiting --first byte--> head --all of it--> busy --answered--> waiting
                                                  |
                                                  +--answered, body not all here--> rest

Each phase has its time, which no byte prolongs. Over the limit of connections, the one that has
been without a request for longest makes room: one of many, or the newest if all others are busy.
"""

import asyncio
import fcntl
import resource
import termios
from array import array
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from igw_runtime.settings import ServingSettings

MAX_CONNECTIONS: Final = 2048
MAX_FILES: Final = 65_536
# Longer than any client keeps a connection that it does not use (Envoy: an hour). Whoever closes
# it first must be the client: a request that meets our FIN half-way would be lost.
KEEP_ALIVE_SECONDS: Final = 3_900.0
HEAD_SECONDS: Final = 10.0
UNREAD_SECONDS: Final = 30.0
_RESERVED_FILES: Final = 256  # the model, the log, the metrics' and gRPC's sockets
_LATE: Final = b"The request's header did not arrive in time."


class Phase(StrEnum):
    """What a connection is doing."""

    WAITING = "waiting"
    """Nothing of a request is here."""
    HEAD = "head"
    """Some bytes of a header are."""
    BUSY = "busy"
    """A request is being read, worked on, or answered."""
    REST = "rest"
    """It is answered, and its body is still coming: nobody wants it."""
    CLOSING = "closing"
    """All is said; what the client has not read yet may still be sent."""


CROWDED: Final = "crowded"


def choose_limits(serving: ServingSettings) -> Mapping[Phase, float]:
    """Return how many seconds each phase may take."""
    return {
        Phase.WAITING: KEEP_ALIVE_SECONDS,
        Phase.HEAD: HEAD_SECONDS,
        # The application has its own, shorter ones; but an answer that nobody reads stops it.
        Phase.BUSY: serving.body_timeout_seconds + serving.timeout_seconds + UNREAD_SECONDS,
        Phase.REST: serving.body_timeout_seconds,
        Phase.CLOSING: UNREAD_SECONDS,
    }


def choose_most() -> int:
    """Return how many connections there may be, after asking for as many files as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(1, min(MAX_CONNECTIONS, files - _RESERVED_FILES))


class Crowd:
    """The connections of the process; runs on the event loop only."""

    def __init__(
        self, most: int, limits: Mapping[Phase, float], count_cut: Callable[[str], None]
    ) -> None:
        self.limits = limits
        self.count_cut = count_cut
        self._most = most
        self._all: set[BoundedProtocol] = set()
        # A dict for its order: who has been without a request for longest is first.
        self._idle: dict[BoundedProtocol, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, protocol: "BoundedProtocol") -> None:
        """Take a new connection in, and let another go if there are too many."""
        self._all.add(protocol)
        self._idle[protocol] = None
        if len(self._all) > self._most:
            next(iter(self._idle)).cut(CROWDED)

    def move(self, protocol: "BoundedProtocol", phase: Phase) -> None:
        """Note who has a request, and since when the others have none."""
        if phase is Phase.BUSY:
            self._idle.pop(protocol, None)
        elif protocol in self._all:
            self._idle.setdefault(protocol)

    def leave(self, protocol: "BoundedProtocol") -> None:
        """Forget a connection that ends."""
        self._all.discard(protocol)
        self._idle.pop(protocol, None)


class BoundedProtocol(H11Protocol):
    """One connection of uvicorn's, with a time for everything it does."""

    def __init__(self, *args: Any, crowd: Crowd, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crowd = crowd
        self._phase: Phase | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._crowd.enter(self)
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the connection."""
        self._crowd.leave(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and see what phase that leads to."""
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """See what phase an answer leads to."""
        super().on_response_complete()
        self._phase = None  # the next request may be there already, with a time of its own
        self._follow()

    def shutdown(self) -> None:
        """End, but not where a request is arriving, or a body whose answer would be lost."""
        arriving = self._phase is Phase.WAITING and _count_unread(self.transport) > 0
        if not arriving and self._phase not in {Phase.HEAD, Phase.REST}:
            super().shutdown()
            self._follow()

    def cut(self, reason: str) -> None:
        """End the connection; nothing is waited for."""
        self._crowd.count_cut(reason)
        self._crowd.leave(self)
        # Closing waits until all is sent, which is for ever where nobody reads.
        self.transport.abort()

    def _follow(self) -> None:
        """Start the clock of the phase that the connection is in now, if it is another one."""
        self._unset_keepalive_if_required()
        phase = self._read_phase()
        if phase is self._phase:
            return
        self._phase = phase
        self._crowd.move(self, phase)
        self._stop_timer()
        self._timer = self.loop.call_later(self._crowd.limits[phase], self._end, phase)

    def _read_phase(self) -> Phase:
        if self.transport.is_closing():
            return Phase.CLOSING
        if self.cycle is not None and not self.cycle.response_complete:
            return Phase.BUSY
        if self.conn.their_state is not h11.IDLE:
            return Phase.REST
        received, _ = self.conn.trailing_data
        return Phase.HEAD if received else Phase.WAITING

    def _end(self, phase: Phase) -> None:
        """Do what is to be done when a phase took too long."""
        if phase is Phase.HEAD:
            self._crowd.count_cut(phase)
            self._say_late()
        elif phase is Phase.WAITING and not self.transport.get_write_buffer_size():
            self.timeout_keep_alive_handler()
        else:
            self.cut(phase)
        self._follow()

    def _say_late(self) -> None:
        """Answer 408 and close: who waits for an answer to half a header learns why."""
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(_LATE))),
            ("connection", "close"),
        ]
        answer = h11.Response(status_code=408, headers=headers, reason=b"Request Timeout")
        for event in (answer, h11.Data(data=_LATE), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _count_unread(transport: asyncio.Transport) -> int:
    """Return how many bytes the kernel has for us: closing before they are read would reset."""
    count = array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return count[0]
