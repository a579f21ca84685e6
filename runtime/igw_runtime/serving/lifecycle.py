"""Which phase of its life the process is in, and what that means to a request.

    starting --> ready --> draining --> stopping
        |          (readiness off,  (listener closed,
        +--> stopping  still serving)   who is connected is served)

Written by `serving.server` only; read by probes, admission and middleware.
"""

from enum import StrEnum

from igw_runtime.errors import NotReadyError, StoppingError
from igw_runtime.telemetry.metrics import Metrics


class State(StrEnum):
    """The phases."""

    STARTING = "starting"
    """The model is being loaded and warmed; probes answer, nothing else does."""
    READY = "ready"
    """Serving, and to be sent traffic."""
    DRAINING = "draining"
    """Still serving, but not to be sent traffic: endpoints are being withdrawn."""
    STOPPING = "stopping"
    """Finishing. Who had connected before the listener closed still gets an answer, one."""


class Lifecycle:
    """The current phase; it only ever moves forward."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._state = State.STARTING
        self._was_ready = False
        self._metrics.show_state(self._state)

    @property
    def state(self) -> State:
        """Return the current phase."""
        return self._state

    @property
    def closing_connections(self) -> bool:
        """Tell whether answers should ask their client to reconnect, and so go elsewhere."""
        return self._state in {State.DRAINING, State.STOPPING}

    def advance(self, state: State) -> None:
        """Move forward; moving back is ignored, a late model load must not undo a stop."""
        order = list(State)
        if order.index(state) > order.index(self._state):
            self._state = state
            self._was_ready |= state is State.READY
            self._metrics.show_state(state)

    def check_accepting(self) -> None:
        """Raise unless new work may be taken."""
        if self._state is State.STARTING:
            message = "the model is still loading"
            raise NotReadyError(message, headers={"Retry-After": "1"})
        if self._state is State.STOPPING and not self._was_ready:
            message = "this server is about to exit; retry elsewhere"
            raise StoppingError(message, headers={"Retry-After": "1"})
