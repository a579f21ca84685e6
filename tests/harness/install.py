"""Install the platform as a platform team does: monitoring, CRDs, operator, default runtime."""

from __future__ import annotations

from typing import Final

from harness.kubectl import Kubectl
from harness.provider import Provider

OPERATOR_NAMESPACE: Final = "igw-system"
_CRDS: Final = tuple(
    f"crd/{plural}.inference.igw.dev" for plural in ("inferencegateways", "inferenceruntimes")
)
_CUSTOM_METRICS: Final = "apiservice/v1beta1.custom.metrics.k8s.io"
_EXTERNAL_METRICS: Final = "apiservice/v1beta1.external.metrics.k8s.io"
_WAIT: Final = "--timeout=180s"


def install_monitoring(kubectl: Kubectl, provider: Provider) -> None:
    """Prometheus Operator, Prometheus and Alertmanager; and metrics-server where there is none."""
    if folder := provider.metrics_server():
        kubectl("apply", "-k", folder)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", provider.prometheus_crds())
    kubectl("wait", "--for=condition=Established", _WAIT, "crd/prometheuses.monitoring.coreos.com")
    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/monitoring")


def install_operator(kubectl: Kubectl) -> None:
    """CRDs, the operator in ``igw-system``, and the default InferenceRuntime."""
    kubectl("apply", "-f", "crds")
    kubectl("wait", "--for=condition=Established", _WAIT, *_CRDS)
    again = kubectl.get("deployment", "igw-operator", OPERATOR_NAMESPACE) is not None
    kubectl("apply", "-k", "manifests/overlays/demo")
    if again:
        # The image may have been built anew under its old tag, which `apply` cannot see.
        kubectl("rollout", "restart", "-n", OPERATOR_NAMESPACE, "deployment/igw-operator")


def wait_for_operator(kubectl: Kubectl) -> None:
    """Until the operator is rolled out."""
    kubectl(
        "rollout",
        "status",
        "-n",
        OPERATOR_NAMESPACE,
        "deployment/igw-operator",
        _WAIT,
        timeout_seconds=200,
    )


def wait_for_monitoring(kubectl: Kubectl) -> None:
    """Until Prometheus answers."""
    kubectl(
        "wait",
        "-n",
        "monitoring",
        "--for=condition=Available",
        _WAIT,
        "prometheus/prometheus",
        timeout_seconds=200,
    )


def install_adapter(kubectl: Kubectl) -> None:
    """prometheus-adapter, which serves the custom metrics API; not waited for."""
    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/prometheus-adapter")


def wait_for_adapter(kubectl: Kubectl) -> None:
    """Until the custom metrics API answers."""
    kubectl("wait", "--for=condition=Available", _WAIT, _CUSTOM_METRICS, timeout_seconds=200)


def install_keda(kubectl: Kubectl, provider: Provider) -> None:
    """KEDA's operator and its server of external metrics, ready."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", provider.keda())
    for name in ("keda-operator", "keda-metrics-apiserver"):
        kubectl(
            *("rollout", "status", "-n", "keda", f"deployment/{name}", _WAIT), timeout_seconds=200
        )
    kubectl("wait", "--for=condition=Available", _WAIT, _EXTERNAL_METRICS, timeout_seconds=200)


def remove_keda(kubectl: Kubectl, provider: Provider) -> None:
    """All of it; what it scaled has to be gone, or its finalizers stay."""
    kubectl("delete", "-f", provider.keda(), "--ignore-not-found", timeout_seconds=200)
