import pytest

from igw_runtime.errors import MalformedRequestError
from igw_runtime.serving.deadlines import Deadline, parse_timeout


@pytest.mark.parametrize(
    ("header", "expected"), [(None, 30.0), ("250", 0.25), ("3600000", 30.0), ("1", 0.001)]
)
def test_client_may_shorten_but_not_lengthen(header: str | None, expected: float) -> None:
    """The server's limit caps the client's wish."""
    assert expected == parse_timeout(header, 30.0)


@pytest.mark.parametrize("header", ["", "0", "-5", "1.5", "abc", "9" * 30, "٣", "3600001"])
def test_nonsense_is_malformed(header: str) -> None:
    """A timeout that is no number of milliseconds is the client's mistake."""
    with pytest.raises(MalformedRequestError):
        parse_timeout(header, 30.0)


def test_deadline_is_a_moment() -> None:
    """Remaining time ends at zero, never below."""
    deadline = Deadline(10.0)

    assert (deadline.remaining(7.0), deadline.remaining(12.0)) == (3.0, 0.0)
    assert not deadline.expired(9.9)
    assert deadline.expired(10.0)


def test_stricter_moment_is_less_time() -> None:
    """What a request was given is counted from its first byte, whoever cut it short."""
    deadline = Deadline(40.0, 30.0)

    assert deadline.earlier(10.5) == Deadline(10.5, 0.5)
    assert deadline.earlier(50.0) == deadline
