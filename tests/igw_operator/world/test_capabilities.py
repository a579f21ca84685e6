from typing import Any

import pytest

from igw_operator import kinds
from igw_operator.errors import ApiError
from igw_operator.kinds import Resource
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
    monkeypatch.setattr(capabilities, "_FIRST_RETRY_SECONDS", 0.0)
    return FakeApi(objects={MONITORING: BOTH})


def watch(api: FakeApi) -> CapabilityWatch:
    """The watch under test."""
    anything: Any = api
    return CapabilityWatch(api=anything, interval_seconds=60, on_change=lambda _: None)


@pytest.mark.parametrize(
    "resource", [it for it in kinds.WATCHED if it.optional], ids=lambda it: it.kind
)
async def test_no_optional_kind_is_served_where_nothing_is(resource: Resource) -> None:
    """One that nobody asked about would be listed for ever, to be answered 404 each time."""
    watching = watch(FakeApi())
    await watching.prime()
    assert not watching.serves(resource)


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


ADAPTER = {"versions": [{"version": "v1beta1", "groupVersion": "custom.metrics.k8s.io/v1beta1"}]}
V1BETA1 = f"{CUSTOM_METRICS}/v1beta1"


async def test_a_metric_counts_only_if_it_is_listed(api: FakeApi) -> None:
    """An adapter for somebody else's metrics serves the API and none of ours."""
    others = {"resources": [{"name": "pods/packets"}, {"name": "namespaces/inference_queue_size"}]}
    api.objects |= {CUSTOM_METRICS: ADAPTER, V1BETA1: others}
    watching = watch(api)
    await watching.refresh()
    assert watching.current.custom_metrics
    assert watching.current.pods_metrics == frozenset()

    api.objects[V1BETA1] = {"resources": [{"name": "pods/inference_queue_size"}]}
    assert await watching.refresh()
    assert watching.current.pods_metrics == {"inference_queue_size"}


async def test_an_adapter_that_is_down_takes_no_metric_away(api: FakeApi) -> None:
    """Its API stays registered and answers 503: who scales by it goes on asking for it."""
    listed = {"resources": [{"name": "pods/http_requests_per_second"}]}
    api.objects |= {CUSTOM_METRICS: ADAPTER, V1BETA1: listed}
    watching = watch(api)
    await watching.refresh()
    api.failures["GET", V1BETA1] = [BUSY]
    assert not await watching.refresh()
    assert watching.current.pods_metrics == {"http_requests_per_second"}


async def test_a_removed_adapter_takes_its_metrics_with_it(api: FakeApi) -> None:
    """The group is gone, and no version is asked for."""
    listed = {"resources": [{"name": "pods/http_requests_per_second"}]}
    api.objects |= {CUSTOM_METRICS: ADAPTER, V1BETA1: listed}
    watching = watch(api)
    await watching.refresh()
    del api.objects[CUSTOM_METRICS]
    assert await watching.refresh()
    assert watching.current == Capabilities(service_monitors=True, prometheus_rules=True)


async def test_keda_is_found_by_its_crd(api: FakeApi) -> None:
    """The group without its ScaledObjects would be no use."""
    api.objects["/apis/keda.sh/v1alpha1"] = {"resources": [{"name": "scaledjobs"}]}
    watching = watch(api)
    await watching.refresh()
    assert not watching.current.scaled_objects
    api.objects["/apis/keda.sh/v1alpha1"] = {"resources": [{"name": "scaledobjects"}]}
    await watching.refresh()
    assert watching.current.scaled_objects
