"""What becomes of pods is what the gateway says: broken, loading, or without metrics.

The API server, the controllers and the operator are real, pods are played.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from igw_operator import conventions
from integration.cluster import wait_for
from integration.conftest import Place
from integration.fake_pods import FakePods
from integration.operator_process import OperatorProcess
from localnode.controlplane import ControlPlane

QUIET: dict[str, Any] = {"collector": {"mode": "Disabled"}}
IMAGE = "igw.dev/runtime:broken-pods"


@pytest.fixture
def pods(plane: ControlPlane, place: Place) -> Iterator[FakePods]:
    """The pods of the test's namespace, and a runtime whose image is the test's own."""
    runtime = {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {"name": place.namespace},
        "spec": {"image": IMAGE},
    }
    place.cluster.apply(runtime)
    with FakePods(plane, place.namespace) as pods:
        yield pods
    place.cluster.delete("InferenceGateway", place.namespace, "photos")
    place.cluster.delete("InferenceRuntime", "", place.namespace)


def apply(place: Place, **spec: Any) -> None:
    """A gateway on the runtime of the test."""
    size: dict[str, Any] = {} if "scaling" in spec else {"replicas": 2}
    reference = {"name": place.namespace}
    place.apply(observability=QUIET, runtimeRef=reference, **size, **spec)


def wait_ready(place: Place, status: str, reason: str = "") -> dict[str, Any]:
    """Ready of the latest spec, once it has a status, and perhaps a reason."""

    def is_so() -> bool:
        condition, gateway = place.condition("Ready"), place.gateway()
        return (
            condition.get("status") == status
            and condition["observedGeneration"] == gateway["metadata"]["generation"]
            and reason in {"", condition["reason"]}
        )

    wait_for(is_so, f"Ready={status} {reason}", timeout_seconds=40)
    return place.condition("Ready")


@pytest.mark.pain(1, 5)
def test_a_gateway_whose_pods_crash_is_not_ready_any_more(place: Place, pods: FakePods) -> None:
    """The reason has container, exit code, last line of the log and next command; it heals."""
    apply(place)
    wait_ready(place, "True")

    pods.crash(IMAGE, 'loading\n{"event": "died", "error": "no disk"}\n\x1b[0m\n')
    ready = wait_ready(place, "False", "CrashLoop")
    # The Deployment controller may be a moment behind the pods.
    wait_for(lambda: place.condition("Available")["status"] == "False", "Available=False")
    pods.cure(IMAGE)
    wait_ready(place, "True")

    assert ready["message"].startswith("Container runtime of pod photos-")
    assert " exited with code 1: died: no disk. Next: kubectl logs photos-" in ready["message"]
    assert ready["message"].endswith(f" -c runtime -n {place.namespace} --previous")


@pytest.mark.pain(10)
def test_a_gateway_whose_model_still_loads_is_not_ready(place: Place, pods: FakePods) -> None:
    """Its containers run, which is not enough."""
    pods.stall(IMAGE)
    apply(place)
    wait_ready(place, "False", "ProbeFailing")
    assert "runs but is not ready" in place.condition("Ready")["message"]
    assert place.condition("Available")["status"] == "False"
    pods.cure(IMAGE)
    wait_ready(place, "True")


@pytest.mark.pain(10)
def test_old_replicas_stay_until_new_ones_are_ready(place: Place, pods: FakePods) -> None:
    """An edit whose pods never get ready takes no capacity away."""
    apply(place)
    wait_ready(place, "True")

    pods.stall(f"{IMAGE}-2")
    place.cluster.patch("InferenceRuntime", "", place.namespace, {"spec": {"image": f"{IMAGE}-2"}})
    wait_ready(place, "False", "ProbeFailing")

    least = min(_count_ready(place) for _ in _seconds(4))
    available = place.condition("Available")
    pods.cure(f"{IMAGE}-2")
    wait_ready(place, "True")
    assert least == 2
    assert available["status"] == "True"


@pytest.mark.pain(6)
def test_an_autoscaler_without_metrics_is_told_once(
    place: Place, pods: FakePods, operator: OperatorProcess
) -> None:
    """No metrics API: the HPA fails for ever, the gateway says so, and nothing is written again."""
    del pods  # they run
    apply(place, scaling={"minReplicas": 1, "maxReplicas": 3})
    wait_ready(place, "True")
    wait_for(
        lambda: place.condition("ScalingReady").get("reason") == "MetricsUnavailable",
        "the reason",
        timeout_seconds=60,
    )
    place.wait_settled()
    told = operator.log.read_text().count(place.namespace)
    with place.recording() as writes:
        time.sleep(20)  # more than one look of the HPA's controller

    scaling = place.condition("ScalingReady")
    assert scaling["status"] == "False"
    assert "kubectl describe hpa photos" in scaling["message"]
    assert place.gateway()["status"]["reason"] == "MetricsUnavailable"
    assert writes == []
    assert operator.log.read_text().count(place.namespace) == told


def _count_ready(place: Place) -> int:
    return int(place.must_get("Deployment")["status"].get("readyReplicas", 0))


def _seconds(count: float) -> Iterator[None]:
    ends_at = time.monotonic() + count
    while time.monotonic() < ends_at:
        yield
        time.sleep(0.1)
