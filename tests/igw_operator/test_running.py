import asyncio
import os
import signal
from typing import Any

import kopf
import pytest

from igw_operator import running
from igw_operator.health import Health
from igw_operator.metrics import Metrics
from igw_operator.running import Operator, Surroundings
from igw_operator.settings import Settings
from operator_fakes import FakeApi, FakeClock


class APINotFoundError(Exception):
    """Named as kopf's own, which is not public."""


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    """An operator without a cluster, in a hurry."""
    monkeypatch.setattr(running, "_ANEW_SECONDS", 0.0)
    monkeypatch.setattr(running, "_SIGNALS_SECONDS", 0.0)
    clock, api = FakeClock(), FakeApi()
    anything: Any = api
    return Operator(
        settings=Settings(),
        connection=anything,
        api=anything,
        prometheus=anything,
        metrics=Metrics(),
        health=Health(0),
        surroundings=Surroundings(environment={}, now=clock.now, clock=clock, random=lambda: 0.0),
    )


def play(monkeypatch: pytest.MonkeyPatch, *endings: Exception | None) -> list[int]:
    """Have kopf end in these ways, one after the other; the list grows with each start."""
    starts: list[int] = []

    async def run(**_: Any) -> None:
        ending = endings[len(starts)]
        starts.append(len(starts))
        await asyncio.sleep(0.01)
        if ending is not None:
            raise ending

    monkeypatch.setattr(kopf, "operator", run)
    return starts


async def test_an_api_that_vanishes_under_its_watch_does_not_end_the_process(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watches begin anew."""
    starts = play(monkeypatch, APINotFoundError("404"), APINotFoundError("404"), None)
    await operator._watch()
    assert len(starts) == 3


async def test_any_other_failure_ends_the_process(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet starts a new one."""
    play(monkeypatch, RuntimeError("an ERROR event"))
    with pytest.raises(RuntimeError, match="an ERROR event"):
        await operator._watch()


async def test_a_signal_while_the_watches_fail_is_not_lost(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the operator instead of beginning anew."""
    starts = 0

    async def run(**_: Any) -> None:
        nonlocal starts
        starts += 1
        await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        message = "404"
        raise APINotFoundError(message)

    monkeypatch.setattr(kopf, "operator", run)
    await operator._watch()
    assert starts == 1


async def test_kopf_need_not_ask_for_the_users_name(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's uid has none: given no identity, kopf 1.45 ends with a KeyError there."""
    told: dict[str, Any] = {}

    async def run(**arguments: Any) -> None:
        told.update(arguments)

    monkeypatch.setattr(kopf, "operator", run)
    await operator._watch()

    assert told["identity"]
