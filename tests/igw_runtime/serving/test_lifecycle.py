import pytest

from igw_runtime.errors import NotReadyError, StoppingError
from igw_runtime.serving.lifecycle import Lifecycle, State
from igw_runtime.settings import MetricsSettings
from igw_runtime.telemetry.metrics import Metrics


@pytest.fixture
def lifecycle() -> Lifecycle:
    """Return a life cycle that has just begun."""
    return Lifecycle(Metrics(MetricsSettings()))


def test_work_is_taken_while_ready_and_while_draining(lifecycle: Lifecycle) -> None:
    """Draining withdraws readiness, not service: that is what loses no request."""
    with pytest.raises(NotReadyError):
        lifecycle.check_accepting()
    lifecycle.advance(State.READY)
    lifecycle.check_accepting()
    closing_when_ready = lifecycle.closing_connections

    lifecycle.advance(State.DRAINING)
    lifecycle.check_accepting()
    assert (closing_when_ready, lifecycle.closing_connections) == (False, True)

    lifecycle.advance(State.STOPPING)
    lifecycle.check_accepting()


def test_stop_before_the_model_was_loaded_takes_no_work(lifecycle: Lifecycle) -> None:
    """There is nothing to serve with; the client is told to go elsewhere."""
    lifecycle.advance(State.STOPPING)

    assert lifecycle.closing_connections
    with pytest.raises(StoppingError):
        lifecycle.check_accepting()


def test_never_moves_back(lifecycle: Lifecycle) -> None:
    """A model that finishes loading after SIGTERM does not make the pod ready."""
    lifecycle.advance(State.STOPPING)
    lifecycle.advance(State.READY)

    assert lifecycle.state is State.STOPPING
