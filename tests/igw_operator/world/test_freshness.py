from typing import Any

import pytest

from factories import RUNTIME_IMAGE, live_gateway_manifest
from igw_operator import conventions, kinds
from igw_operator.api.objects import Runtime, parse_runtime
from igw_operator.errors import ApiError, StaleViewError
from igw_operator.kinds import Resource
from igw_operator.world.freshness import Freshness
from operator_fakes import FakeApi, FakeClock

GATEWAY_PATH = kinds.GATEWAY.path("demo", "photos")
RUNTIME_PATH = kinds.RUNTIME.path(name="default")


class Harness:
    """A freshness over a fake API server that has a gateway and a runtime."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.clock = FakeClock()
        self.learnt: list[tuple[str, str, str]] = []
        api: Any = self.api  # as the client of the world
        self.freshness = Freshness(api=api, learn=self._learn, clock=self.clock)
        self.gateway = self.api.put(GATEWAY_PATH, live_gateway_manifest())
        self.put_runtime()

    def put_runtime(self) -> Runtime:
        """Have a (newer) runtime."""
        manifest = {
            "apiVersion": conventions.API_VERSION,
            "kind": conventions.RUNTIME_KIND,
            "metadata": {"name": "default"},
            "spec": {"image": RUNTIME_IMAGE},
        }
        self.runtime = parse_runtime(self.api.put(RUNTIME_PATH, manifest))
        return self.runtime

    def asked(self) -> list[str]:
        """What was looked at since the last call."""
        paths = [it.path for it in self.api.requests]
        self.api.requests.clear()
        return paths

    def _learn(self, resource: Resource, event: str, manifest: dict[str, Any]) -> None:
        self.learnt.append((event, resource.kind, manifest["metadata"]["name"]))


@pytest.fixture
def harness() -> Harness:
    """All is as it was seen."""
    return Harness()


async def test_a_look_is_good_for_a_while(harness: Harness) -> None:
    """One GET of each for all writes of a pass; one more where the process was frozen."""
    looked_at = await harness.freshness.confirm(harness.gateway, harness.runtime, None)
    assert harness.asked() == [GATEWAY_PATH, RUNTIME_PATH]
    harness.clock.seconds += 9
    assert await harness.freshness.confirm(harness.gateway, harness.runtime, looked_at) == looked_at
    assert harness.asked() == []
    harness.clock.seconds += 2
    assert await harness.freshness.confirm(harness.gateway, harness.runtime, looked_at) > looked_at
    assert harness.asked() == [GATEWAY_PATH, RUNTIME_PATH]


async def test_one_look_at_a_runtime_serves_many_gateways(harness: Harness) -> None:
    """A new image concerns thousands at once."""
    for _ in range(3):
        await harness.freshness.check(harness.gateway, harness.runtime)
    assert harness.asked().count(RUNTIME_PATH) == 1
    harness.clock.seconds += 1
    await harness.freshness.check(harness.gateway, harness.runtime)
    assert harness.asked().count(RUNTIME_PATH) == 1


async def test_a_newer_gateway_is_learnt(harness: Harness) -> None:
    """As if a watch had told of it."""
    harness.api.put(GATEWAY_PATH, live_gateway_manifest(replicas=1))
    with pytest.raises(StaleViewError, match="InferenceGateway photos has changed"):
        await harness.freshness.check(harness.gateway, None)
    assert harness.learnt == [("MODIFIED", "InferenceGateway", "photos")]


async def test_what_another_pass_has_learnt_is_no_excuse(harness: Harness) -> None:
    """Each is compared to what it began with, also where the look was somebody else's."""
    old = harness.runtime
    new = harness.put_runtime()
    await harness.freshness.check(harness.gateway, new)
    with pytest.raises(StaleViewError, match="InferenceRuntime default has changed"):
        await harness.freshness.check(harness.gateway, old)


async def test_a_gateway_that_is_gone_is_learnt(harness: Harness) -> None:
    """So are all that depend on it."""
    del harness.api.objects[GATEWAY_PATH]
    with pytest.raises(StaleViewError, match="is gone"):
        await harness.freshness.check(harness.gateway, None)
    assert harness.learnt == [("DELETED", "InferenceGateway", "photos")]


async def test_nothing_is_allowed_where_nobody_can_look(harness: Harness) -> None:
    """The refusal is passed on, and with it the name of the right that is missing."""
    harness.api.failures["GET", GATEWAY_PATH] = [ApiError("you may not", status=403)]
    with pytest.raises(ApiError, match="you may not"):
        await harness.freshness.check(harness.gateway, None)
