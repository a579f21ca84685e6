from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from igw_operator.plan.inputs import Capabilities, Defaults
from plan_kit.children import EVERY_API, build

HPA = ("HorizontalPodAutoscaler", "photos")
SCALED_OBJECT = ("ScaledObject", "photos")
KEDA = Capabilities(scaled_objects=True)
PROMETHEUS = Defaults(prometheus_url="http://prometheus.monitoring.svc:9090")


def scaled_object(**arguments: Any) -> dict[str, Any]:
    """The spec of the ScaledObject that is built."""
    built = build(**({"capabilities": KEDA, "defaults": PROMETHEUS} | arguments))
    spec: dict[str, Any] = built[SCALED_OBJECT]["spec"]
    return spec


ENGINES: dict[str, tuple[Capabilities, Defaults, dict[str, Any], bool]] = {
    "KEDA alone can ask for the load": (KEDA, PROMETHEUS, {}, True),
    "KEDA has no Prometheus to ask, and so nothing over an HPA": (KEDA, Defaults(), {}, False),
    "a custom metrics API is there, whatever it lists": (
        replace(KEDA, custom_metrics=True),
        PROMETHEUS,
        {},
        False,
    ),
    "an adapter is there and KEDA too": (
        replace(EVERY_API, scaled_objects=True),
        PROMETHEUS,
        {},
        False,
    ),
    "the owner wants KEDA": (
        replace(EVERY_API, scaled_objects=True),
        Defaults(),
        {"scaling": {"engine": "KEDA"}},
        True,
    ),
    "the owner wants KEDA, which is not there": (
        EVERY_API,
        PROMETHEUS,
        {"scaling": {"engine": "KEDA"}},
        False,
    ),
    "the owner wants an HPA": (KEDA, PROMETHEUS, {"scaling": {"engine": "HPA"}}, False),
}


@pytest.mark.parametrize(
    ("capabilities", "defaults", "spec", "by_keda"), ENGINES.values(), ids=ENGINES
)
def test_one_engine_scales(
    capabilities: Capabilities, defaults: Defaults, spec: dict[str, Any], by_keda: bool
) -> None:
    """Never both, and never none."""
    built = build(capabilities=capabilities, defaults=defaults, **spec)
    assert (SCALED_OBJECT in built, HPA in built) == (by_keda, not by_keda)


def test_fixed_replicas_need_neither() -> None:
    """Who fixes the number gets no autoscaler."""
    built = build(capabilities=KEDA, defaults=PROMETHEUS, replicas=3)
    assert not {SCALED_OBJECT, HPA} & built.keys()


def test_scales_within_the_same_bounds_at_the_same_speed_as_an_hpa() -> None:
    """Switching the engine changes nothing that the owner asked for."""
    by_keda, by_hpa = scaled_object(), build()[HPA]["spec"]
    assert by_keda["minReplicaCount"] == by_hpa["minReplicas"]
    assert by_keda["maxReplicaCount"] == by_hpa["maxReplicas"]
    assert by_keda["scaleTargetRef"] == by_hpa["scaleTargetRef"]
    assert by_keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == by_hpa["behavior"]


def test_scales_by_all_four_targets() -> None:
    """Two shares of what a pod requests, two loads of a replica."""
    triggers = scaled_object()["triggers"]
    assert [(it["type"], it.get("name"), it["metricType"]) for it in triggers] == [
        ("cpu", None, "Utilization"),
        ("memory", None, "Utilization"),
        ("prometheus", "http_requests_per_second", "AverageValue"),
        ("prometheus", "inference_queue_size", "AverageValue"),
    ]
    assert [it["metadata"].get("threshold") for it in triggers] == [None, None, "1000", "50"]


def test_an_empty_answer_is_an_error_and_an_idle_pod_is_zero() -> None:
    """Else a Prometheus that lost its targets would scale a busy gateway down."""
    requests, queue = scaled_object()["triggers"][2:]
    for trigger in (requests, queue):
        assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert requests["metadata"]["query"].endswith(
        'or sum(0 * inference_queue_size{namespace="demo",gateway="photos"})'
    )


def test_asks_only_for_the_gateways_own_predictions() -> None:
    """Probes count in no target, nor do the gateway's neighbours."""
    query = scaled_object()["triggers"][2]["metadata"]["query"]
    assert 'namespace="demo",gateway="photos",endpoint=~"/predict|' in query


def test_without_a_prometheus_scales_by_cpu_and_memory() -> None:
    """The owner asked for KEDA, and it cannot be told whom to ask."""
    triggers = scaled_object(defaults=Defaults(), scaling={"engine": "KEDA"})["triggers"]
    assert [trigger["type"] for trigger in triggers] == ["cpu", "memory"]
