"""What an engine is: something that turns a batch of images into a batch of scores.

`serving.loading` opens one engine a process and one session a worker thread; engines know
nothing of HTTP, labels or settings files.
"""

from dataclasses import dataclass
from typing import Protocol

from numpy import float32
from numpy.typing import NDArray

Batch = NDArray[float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a model is to be run."""

    precision: str
    threads: int
    streams: int
    pin_threads: bool
    max_batch: int
    side: int
    torch_compile: bool = False


class Session(Protocol):
    """One thread's way into the engine; never shared between threads."""

    def infer(self, batch: Batch) -> Batch:
        """Run (n, 3, side, side) images; return (n, classes) scores."""


class Engine(Protocol):
    """A compiled model."""

    @property
    def name(self) -> str:
        """Which engine this is, for the info metric."""

    @property
    def precision(self) -> str:
        """The precision that is truly computed in, not the one that was asked for."""

    @property
    def device(self) -> str:
        """Where it runs."""

    def open_session(self) -> Session:
        """Return a session for one worker thread."""
