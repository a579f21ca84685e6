"""Some namespaces answer in 20 s, as behind a slow admission webhook; the others never notice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from integration.cluster import wait_for
from integration.conftest import Place
from matrix.calls import Call
from matrix.faults import slow
from matrix.rig import Rig, a_rig

QUIET: Final[dict[str, Any]] = {
    "replicas": 0,
    "observability": {"collector": {"mode": "Disabled"}, "metrics": {"enabled": False}},
}
# More than the operator's workers, and than half of its slow lane.
SLOW: Final = 24
SOON_SECONDS: Final = 15.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An operator behind a proxy, with the controllers that make a gateway Ready."""
    with a_rig(tmp_path_factory.mktemp("slow"), controllers=True) as rig:
        yield rig


@pytest.mark.timeout(240)
def test_slow_namespaces_do_not_hold_up_the_others(rig: Rig) -> None:
    """Two dozen that hang, and each of ten others is Ready in time; then the slow ones are."""
    slow_places = [rig.place() for _ in range(SLOW)]
    names = {place.namespace for place in slow_places}

    def is_slow(call: Call) -> bool:
        return call.namespace in names and call.is_write

    with rig.proxy.fault(is_slow, slow(20)) as rule:
        for place in slow_places:
            place.apply(**QUIET)
        wait_for(lambda: rule.hits >= 16, "every worker to be busy with them")
        for _ in range(10):
            place = rig.place()
            began = time.monotonic()
            place.apply(**QUIET)
            _wait_ready(place, SOON_SECONDS)
            assert time.monotonic() - began < SOON_SECONDS
    for place in slow_places:
        _wait_ready(place, 90)


def _wait_ready(place: Place, seconds: float) -> None:
    wait_for(
        lambda: place.condition("Ready").get("status") == "True",
        f"{place.namespace} to be Ready",
        timeout_seconds=seconds,
    )
