from typing import Any

import pytest

from igw_operator.errors import ApiError
from igw_operator.plan.inputs import Capabilities
from igw_operator.world import capabilities
from igw_operator.world.capabilities import CapabilityWatch
from operator_fakes import FakeApi

MONITORING = "/apis/monitoring.coreos.com/v1"
CUSTOM_METRICS = "/apis/custom.metrics.k8s.io"
BOTH = {"resources": [{"name": "servicemonitors"}, {"name": "prometheusrules"}]}
BUSY = ApiError("the server is starting", status=503)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A server with the Prometheus Operator's API and without custom metrics."""
    monkeypatch.setattr(capabilities, "_RETRY_SECONDS", 0.0)
    return FakeApi(objects={MONITORING: BOTH})


def watch(api: FakeApi) -> CapabilityWatch:
    """The watch under test."""
    anything: Any = api
    return CapabilityWatch(api=anything, interval_seconds=60, on_change=lambda _: None)


async def test_an_answer_that_is_neither_yes_nor_no_is_asked_for_again(api: FakeApi) -> None:
    """At the start nothing is known: a server that stumbles does not lack an API."""
    api.failures["GET", MONITORING] = [BUSY, BUSY]
    watching = watch(api)
    await watching.prime()
    assert watching.current == Capabilities(service_monitors=True, prometheus_rules=True)


async def test_an_api_that_is_broken_for_long_does_not_keep_the_operator(api: FakeApi) -> None:
    """An adapter without pods answers 503 for days; the rest is known."""
    api.failures["GET", CUSTOM_METRICS] = [BUSY] * 100
    watching = watch(api)
    await watching.prime()
    assert watching.current == Capabilities(service_monitors=True, prometheus_rules=True)
    assert not await watching.refresh()
