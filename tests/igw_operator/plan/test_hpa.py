from __future__ import annotations

from typing import Any

import pytest

from igw_operator.plan.inputs import Capabilities
from plan_kit.children import build

KEY = ("HorizontalPodAutoscaler", "photos")


def targets(**arguments: Any) -> dict[str, Any]:
    """Metric name -> target value of the autoscaler that is built."""
    found = {}
    for metric in build(**arguments)[KEY]["spec"]["metrics"]:
        if metric["type"] == "Resource":
            found[metric["resource"]["name"]] = metric["resource"]["target"]["averageUtilization"]
        else:
            found[metric["pods"]["metric"]["name"]] = metric["pods"]["target"]["averageValue"]
    return found


def test_scales_as_promised_when_nothing_is_said() -> None:
    """3 to 20 replicas; double every 30 s, halve every 5 minutes."""
    spec = build()[KEY]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 20)
    assert spec["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 300}],
        },
    }


def test_uses_every_target_where_custom_metrics_are_served() -> None:
    """All four targets of the seed, by the names that an adapter serves."""
    assert targets() == {
        "cpu": 70,
        "memory": 80,
        "http_requests_per_second": "1000",
        "inference_queue_size": "50",
    }


def test_leaves_out_what_the_cluster_cannot_measure() -> None:
    """A metric that nobody serves would keep the autoscaler from scaling down."""
    assert targets(capabilities=Capabilities()) == {"cpu": 70, "memory": 80}


def test_leaves_out_a_metric_that_the_api_does_not_list() -> None:
    """The API alone is no promise: this one serves the queue and nothing else of ours."""
    capabilities = Capabilities(
        custom_metrics=True, pods_metrics=frozenset({"inference_queue_size"})
    )
    found = targets(capabilities=capabilities)
    assert found == {"cpu": 70, "memory": 80, "inference_queue_size": "50"}


def test_leaves_out_a_share_of_a_request_that_nobody_made() -> None:
    """Without a memory request there is no percentage of it."""
    resources = {"requests": {"cpu": "1"}, "limits": {}}
    assert targets(capabilities=Capabilities(), resources=resources) == {"cpu": 70}


def test_switches_targets_off_with_zero() -> None:
    """Zero means that this target does not scale."""
    scaling = {"cpuPercent": 0, "requestsPerSecond": 0, "queueDepth": 0}
    assert targets(scaling=scaling) == {"memory": 80}


def test_rounds_periods_up_to_whole_seconds() -> None:
    """The autoscaler counts whole seconds."""
    behavior = {"scaleUp": {"percent": 10, "period": "1500ms"}}
    spec = build(scaling={"behavior": behavior})[KEY]["spec"]
    assert spec["behavior"]["scaleUp"]["policies"][0]["periodSeconds"] == 2


@pytest.mark.parametrize("replicas", [0, 3])
def test_is_absent_for_fixed_replicas(replicas: int) -> None:
    """Who fixes the number gets no autoscaler."""
    assert KEY not in build(replicas=replicas)
