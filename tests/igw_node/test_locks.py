"""Two callers never make the same thing at the same time."""

import threading
from pathlib import Path

from localnode.locks import hold_lock


def test_second_caller_is_told_and_waits(tmp_path: Path) -> None:
    """The one who comes later says so, and goes on when the first has finished."""
    events: list[str] = []
    waiting = threading.Event()

    def come_later() -> None:
        def on_wait() -> None:
            events.append("waits")
            waiting.set()

        with hold_lock(tmp_path / "lock", on_wait):
            events.append("second")

    with hold_lock(tmp_path / "lock", lambda: events.append("never")):
        later = threading.Thread(target=come_later)
        later.start()
        waiting.wait(timeout=1)
        events.append("first")
    later.join(timeout=1)

    assert events == ["waits", "first", "second"]
