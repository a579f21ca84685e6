"""One gateway under test, handled as its owner would: with kubectl."""

from __future__ import annotations

import json
from typing import Any, Final

from harness.kubectl import Json, Kubectl
from harness.shell import wait_for

RUNTIME_IMAGE: Final = "igw.dev/runtime:0.1.0"
SMALL: Final = {
    "requests": {"cpu": "100m", "memory": "384Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


class Gateway:
    """One gateway under test."""

    def __init__(self, kubectl: Kubectl, namespace: str, name: str = "photos") -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        self.name = name
        self.url = f"http://{name}.{namespace}.svc"

    def apply(self, **spec: Any) -> None:
        """Apply the gateway; small and fixed unless the test says otherwise."""
        base: Json = {"model": {"name": "efficientnet_lite0"}, "resources": SMALL}
        if "scaling" not in spec:
            base["replicas"] = 1
        self.kubectl.apply(
            {
                "apiVersion": "inference.igw.dev/v1alpha1",
                "kind": "InferenceGateway",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": base | spec,
            }
        )

    def patch(self, spec: Json) -> None:
        """Merge-patch the spec."""
        self.kubectl(
            "patch", "igw", self.name, "-n", self.namespace, "--type=merge",
            "-p", json.dumps({"spec": spec}),
        )  # fmt: skip

    def wait_ready(self, seconds: int = 180) -> None:
        """As a pipeline waits."""
        self.kubectl(
            "wait", "-n", self.namespace, "--for=condition=Ready", f"igw/{self.name}",
            f"--timeout={seconds}s", timeout_seconds=seconds + 20,
        )  # fmt: skip

    def condition(self, kind: str) -> Json:
        """A condition, or an empty object."""
        return self.kubectl.condition("igw", self.name, self.namespace, kind) or {}

    def wait_reason(self, reason: str, seconds: float = 120) -> Json:
        """The Ready condition once it has that reason."""

        def ready() -> Json | None:
            condition = self.condition("Ready")
            return condition if condition.get("reason") == reason else None

        try:
            return wait_for(f"REASON {reason}", ready, timeout_seconds=seconds)
        except TimeoutError as error:
            message = f"{error}; Ready is {self.condition('Ready')}"
            raise TimeoutError(message) from error

    def wait_scaling(self, reason: str, seconds: float) -> Json:
        """The ScalingReady condition once it has that reason."""

        def found() -> Json | None:
            condition = self.condition("ScalingReady")
            return condition if condition.get("reason") == reason else None

        try:
            return wait_for(reason, found, timeout_seconds=seconds, every_seconds=2)
        except TimeoutError as error:
            message = f"{error}; ScalingReady is {self.condition('ScalingReady')}"
            raise TimeoutError(message) from error

    def replicas(self) -> int:
        """What the Deployment is told to have."""
        deployment = self.kubectl.get("deployment", self.name, self.namespace) or {}
        return int(deployment["spec"]["replicas"])

    def pods(self, component: str = "runtime") -> list[Json]:
        """The gateway's pods of a component."""
        return self.kubectl.items("pods", self.namespace, self.selector(component))

    def restarts(self) -> int:
        """Container restarts of all pods of the gateway."""
        return sum(
            status["restartCount"]
            for pod in self.pods()
            for status in pod["status"].get("containerStatuses", [])
        )

    def selector(self, component: str) -> str:
        """Label selector of a component's pods."""
        return f"inference.igw.dev/gateway={self.name},app.kubernetes.io/component={component}"
