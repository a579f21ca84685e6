"""REASON names the actual cause, on a real kubelet and a real scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.gateway import RUNTIME_IMAGE, SMALL, Gateway
from harness.kubectl import Kubectl
from harness.shell import ROOT, CommandError, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
OPERATOR_IMAGE = "igw.dev/operator:0.1.0"
METRICS_API = ROOT / "manifests" / "prometheus-adapter" / "api-service.yaml"


@pytest.fixture
def a_runtime(kubectl: Kubectl) -> Iterator[Callable[..., None]]:
    """Makes InferenceRuntimes that are not the default; takes them away again."""
    made: list[str] = []

    def make(name: str, **spec: object) -> None:
        made.append(name)
        kubectl.apply(
            {
                "apiVersion": "inference.igw.dev/v1alpha1",
                "kind": "InferenceRuntime",
                "metadata": {"name": name},
                "spec": {"image": RUNTIME_IMAGE} | spec,
            }
        )

    yield make
    for name in made:
        kubectl("delete", "igwr", name)


@pytest.mark.pain(5)
def test_an_image_that_cannot_be_pulled(gateway: Gateway, a_runtime: Callable[..., None]) -> None:
    """ImagePullFailed, with the image's name."""
    a_runtime("no-such-image", image="igw.dev/no-such-runtime:9.9.9")
    gateway.apply(runtimeRef={"name": "no-such-image"})

    ready = gateway.wait_reason("ImagePullFailed")

    assert ready["status"] == "False"
    assert "igw.dev/no-such-runtime:9.9.9" in ready["message"]
    assert "kubectl" in ready["message"]


@pytest.mark.pain(5)
def test_an_image_that_is_no_runtime(gateway: Gateway, a_runtime: Callable[..., None]) -> None:
    """CrashLoop, with what the container said last: the operator's image, taken by mistake."""
    a_runtime("no-runtime", image=OPERATOR_IMAGE)
    gateway.apply(runtimeRef={"name": "no-runtime"})

    ready = gateway.wait_reason("CrashLoop")

    assert "exited with code 2: " in ready["message"]
    assert "'serve'" in ready["message"]
    assert "--previous" in ready["message"]


def test_a_replica_that_fits_no_node(gateway: Gateway) -> None:
    """Unschedulable, with the scheduler's own words."""
    gateway.apply(resources={"requests": {"cpu": "900"}, "limits": {"cpu": "900"}})

    ready = gateway.wait_reason("Unschedulable")

    assert "Insufficient cpu" in ready["message"]


def test_a_model_that_the_image_does_not_carry(gateway: Gateway) -> None:
    """Refused at once, with the names that there are; no pod is started for it."""
    gateway.apply(model={"name": "resnet5000"})

    ready = gateway.wait_reason("ModelNotFound", 20)

    assert "spec.model.name" in ready["message"]
    assert "efficientnet_lite0" in ready["message"]
    assert gateway.condition("Stalled")["status"] == "True"
    assert gateway.pods() == []


@pytest.mark.pain(5)
def test_a_model_that_the_runtime_does_not_find(gateway: Gateway) -> None:
    """The runtime's own last words reach REASON."""
    gateway.apply(model={"name": "mine", "uri": "file:///models/nowhere"})

    ready = gateway.wait_reason("ModelNotFound")

    assert "/models/nowhere" in ready["message"]


def test_a_digest_that_does_not_match(gateway: Gateway) -> None:
    """A model that is not the one that was asked for is not served."""
    gateway.apply(
        model={
            "name": "efficientnet_lite0",
            "uri": "file:///models/efficientnet_lite0",
            "sha256": "0" * 64,
        }
    )

    ready = gateway.wait_reason("ModelDigestMismatch")

    assert "0000" in ready["message"]


def test_a_runtime_that_does_not_exist(gateway: Gateway, a_runtime: Callable[..., None]) -> None:
    """Stalled with the field's path; creating the runtime heals it without an edit."""
    gateway.apply(runtimeRef={"name": "later"})
    ready = gateway.wait_reason("RuntimeNotFound", 20)
    assert "spec.runtimeRef" in ready["message"]

    a_runtime("later")

    gateway.wait_ready()


@pytest.mark.pain(5)
def test_a_quota_that_is_too_small(gateway: Gateway, namespace: str) -> None:
    """QuotaExceeded, with the quota's name."""
    gateway.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "tiny", "namespace": namespace},
            "spec": {"hard": {"requests.memory": "300Mi"}},
        }
    )
    gateway.apply()

    ready = gateway.wait_reason("QuotaExceeded")

    assert "tiny" in ready["message"]


@pytest.mark.pain(2)
def test_waiting_right_after_an_edit_never_passes_on_the_old_generation(
    gateway: Gateway,
) -> None:
    """`kubectl apply && kubectl wait` is what every pipeline does."""
    gateway.apply()
    gateway.wait_ready()

    gateway.apply(runtimeRef={"name": "no-such-runtime"})

    with pytest.raises(CommandError):
        gateway.wait_ready(seconds=5)
    gateway.apply(serving={"maxQueue": 32})
    gateway.wait_ready()
    (pod,) = [p for p in gateway.pods() if "deletionTimestamp" not in p["metadata"]]
    config = gateway.kubectl(
        "exec", "-n", gateway.namespace, pod["metadata"]["name"], "--",
        "cat", "/etc/igw/runtime.json",
    )  # fmt: skip
    assert '"maxQueue": 32' in config


def test_an_hpa_scales_on_real_metrics_and_is_not_fought(gateway: Gateway) -> None:
    """The HPA reads metrics-server; the operator leaves replicas to it."""
    on_cpu = {"memoryPercent": 0, "requestsPerSecond": 0, "queueDepth": 0}
    gateway.apply(scaling={"minReplicas": 2, "maxReplicas": 3} | on_cpu, resources=SMALL)
    gateway.wait_ready()

    wait_for(
        "the HPA to be active",
        lambda: gateway.condition("ScalingReady").get("status") == "True",
        timeout_seconds=120,
        every_seconds=2,
    )
    deployment = gateway.kubectl.get("deployment", "photos", gateway.namespace) or {}
    assert deployment["spec"]["replicas"] == 2


@pytest.mark.timeout(480)
def test_scaling_targets_without_an_api_are_named(gateway: Gateway) -> None:
    """Without a custom metrics API the gateway serves and scales on cpu, and says what it lacks."""
    gateway.kubectl("delete", "-f", str(METRICS_API))
    try:
        gateway.apply(scaling={"minReplicas": 1, "maxReplicas": 2, "requestsPerSecond": 100})
        gateway.wait_ready()
        # Nobody announces that an aggregated API has gone: the operator asks every minute.
        condition = gateway.wait_scaling("CustomMetricsUnavailable", seconds=150)
    finally:
        gateway.kubectl("apply", "--server-side", "-f", str(METRICS_API))
    assert "requestsPerSecond" in condition["message"]
    gateway.wait_scaling("Autoscaling", seconds=180)
