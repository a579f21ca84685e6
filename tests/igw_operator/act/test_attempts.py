import pytest

from igw_operator.act.attempts import Attempts, ChildKey
from igw_operator.errors import ApiError, ContestedError, OwnedByOtherError, RivalAutoscalerError
from operator_fakes import FakeClock

SERVICE = ChildKey("Service", "demo", "photos")
OTHER = ChildKey("ConfigMap", "demo", "photos")
DOWN = ApiError("etcd is slow", status=503)
INVALID = ApiError("invalid", status=422)


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def attempts(clock: FakeClock) -> Attempts:
    """Nothing was tried yet."""
    return Attempts(clock=clock)


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        pytest.param(DOWN, [0.5, 1, 2, 4], id="worth another try"),
        pytest.param(INVALID, [10, 20, 40, 80, 160, 300, 300], id="final"),
        pytest.param(
            ApiError("later", status=429, retry_after_seconds=7), [7, 7, 7, 7, 8], id="as asked"
        ),
        pytest.param(RivalAutoscalerError("mine", status=409), [15, 15, 15], id="a rival"),
        pytest.param(OwnedByOtherError("mine", status=409), [15, 15, 15], id="somebody else's"),
        pytest.param(
            ContestedError("a fight", status=409, retry_after_seconds=40), [40, 40], id="a truce"
        ),
    ],
)
def test_a_refused_child_waits_ever_longer(
    attempts: Attempts, clock: FakeClock, error: ApiError, pauses: list[float]
) -> None:
    """And says for how long."""
    found = []
    for _ in pauses:
        held = attempts.refuse(SERVICE, "what", error)
        assert (type(held), str(held), held.status) == (type(error), str(error), error.status)
        found.append(held.retry_after_seconds)
        clock.seconds += found[-1] or 0
    assert found == pauses


def test_only_the_same_write_of_the_same_child_is_held(
    attempts: Attempts, clock: FakeClock
) -> None:
    """Something else to write is tried at once, and so is a sibling."""
    attempts.refuse(SERVICE, "what", INVALID)
    clock.seconds += 4
    held = attempts.find_refusal(SERVICE, "what")
    assert held is not None
    assert (str(held), held.retry_after_seconds) == ("invalid", 6)
    assert attempts.find_refusal(SERVICE, "something else") is None
    assert attempts.find_refusal(OTHER, "what") is None
    assert attempts.held() == 1
    clock.seconds += 6
    assert attempts.find_refusal(SERVICE, "what") is None
    assert attempts.held() == 0
    assert attempts.count_refusals(SERVICE) == 1
    attempts.succeed(SERVICE)
    assert attempts.count_refusals(SERVICE) == 0


def test_what_began_together_ends_together(attempts: Attempts, clock: FakeClock) -> None:
    """Two children that a slow pass tried one after the other come back in one pass."""
    attempts.refuse(SERVICE, "what", INVALID)
    clock.seconds += 0.9
    attempts.refuse(OTHER, "what", INVALID)
    clock.seconds += 9.1
    assert attempts.find_refusal(OTHER, "what") is None


def test_what_is_somebodys_is_looked_at_each_time(attempts: Attempts) -> None:
    """A look is no write, and the other may have gone."""
    attempts.refuse(SERVICE, "what", OwnedByOtherError("mine", status=409))
    assert attempts.find_refusal(SERVICE, "what") is None


def test_a_field_that_drifts_again_and_again_is_put_right_ever_more_seldom(
    attempts: Attempts, clock: FakeClock
) -> None:
    """Five times at once; another field and another child have their own."""
    truces = []
    for _ in range(11):
        attempts.repair(SERVICE, ["spec.type"])
        truces.append(attempts.find_truce(SERVICE, ["spec.ports", "spec.type"]))
        assert attempts.contested() == (truces[-1] > 0)
        clock.seconds += truces[-1] + 1
    assert truces == [0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300]
    assert attempts.find_truce(SERVICE, ["spec.ports"]) == 0
    assert attempts.find_truce(OTHER, ["spec.type"]) == 0


def test_a_fight_that_is_long_over_is_forgotten(attempts: Attempts, clock: FakeClock) -> None:
    """A quarter of an hour of peace, and the next drift is put right at once."""
    for _ in range(7):
        attempts.repair(SERVICE, ["spec.type"])
    assert attempts.find_truce(SERVICE, ["spec.type"]) == 40
    clock.seconds += 40 + 901
    attempts.repair(SERVICE, ["spec.type"])
    assert attempts.find_truce(SERVICE, ["spec.type"]) == 0
    assert attempts.contested() == 0
