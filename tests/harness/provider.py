"""Where the cluster comes from: kind where Docker answers, the local node on bare Linux.

Both are the same few verbs; everything above this module is the same on both.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.shell import ROOT, run, stream

CLUSTER: Final = "igw"
KUBECONFIG: Final = ROOT / ".igw" / "kubeconfig"
IMAGES: Final = {
    "igw.dev/operator:0.1.0": "Dockerfile.operator",
    "igw.dev/runtime:0.1.0": "Dockerfile.runtime",
}
_NODE: Final = ROOT / "tests" / "node" / "kind"
_PROMETHEUS_CRDS: Final = (
    "https://github.com/prometheus-operator/prometheus-operator/releases/download/"
    "v0.85.0/stripped-down-crds.yaml"
)
_KEDA_RELEASE: Final = "https://github.com/kedacore/keda/releases/download/v2.21.0/keda-2.21.0.yaml"
# Without the webhooks; images as they are on the node.
_KEDA_KUSTOMIZATION: Final = """\
resources: [config/minimal]
images:
  - {name: ghcr.io/kedacore/keda, newTag: 2.21.0}
  - {name: ghcr.io/kedacore/keda-metrics-apiserver, newTag: 2.21.0}
patches:
  - target: {kind: Deployment}
    patch: |
      - op: replace
        path: /spec/template/spec/containers/0/imagePullPolicy
        value: IfNotPresent
"""


class Provider(Protocol):
    """What the demo and the tests need of a cluster's maker."""

    @property
    def kind(self) -> str:
        """Path of the kind-compatible command."""

    @property
    def kubectl(self) -> str:
        """Path of kubectl."""

    def prepare(self, parts: str = "") -> None:
        """Install or build what is missing: of everything, or of a set such as ``demo``."""

    def build_images(self) -> None:
        """Build the operator's and the runtime's image from the Dockerfiles."""

    def create(self) -> None:
        """Make the cluster, or take the one that is up; write its kubeconfig."""

    def load_images(self) -> None:
        """Bring the built images to the node."""

    def tag(self, image: str, name: str) -> None:
        """Give an image that is on the node another name there."""

    def delete(self) -> None:
        """End the cluster."""

    def prometheus_crds(self) -> str:
        """What ``kubectl apply -f`` takes for the Prometheus Operator's CRDs."""

    def keda(self) -> str:
        """What ``kubectl apply -f`` takes for all of KEDA."""

    def metrics_server(self) -> str | None:
        """What ``kubectl apply -k`` takes for metrics-server; None where it is there."""


@dataclass(frozen=True)
class LocalNode:
    """The project's own node, behind a kind-compatible command."""

    kind: str = str(_NODE)

    @property
    def kubectl(self) -> str:
        """The kubectl of the node's own version."""
        return self._path("kubectl")

    def prepare(self, parts: str = "") -> None:
        """Build and install; resumes where it stopped."""
        stream([self.kind, "ensure", *(["--only", parts] if parts else [])])

    def build_images(self) -> None:
        """Build with buildah, straight into the node's image store."""
        for tag, dockerfile in IMAGES.items():
            stream([self.kind, "build", "-t", tag, "-f", dockerfile, "."])

    def create(self) -> None:
        """Create the cluster unless it is up."""
        create_cluster(self.kind)

    def load_images(self) -> None:
        """Nothing to do: what was built is on the node."""

    def tag(self, image: str, name: str) -> None:
        """Name it in the node's containerd."""
        run([self.kind, "tag", image, name, "--name", CLUSTER])

    def delete(self) -> None:
        """End the cluster."""
        stream([self.kind, "delete", "cluster", "--name", CLUSTER])

    def prometheus_crds(self) -> str:
        """The folder in the module that the operator was built from."""
        return self._path("prometheus-operator-crds")

    def keda(self) -> str:
        """A build of the kustomize folders in its module, as its release is one."""
        folder = KUBECONFIG.parent / "keda"
        shutil.copytree(self._path("keda-manifests"), folder / "config", dirs_exist_ok=True)
        (folder / "kustomization.yaml").write_text(_KEDA_KUSTOMIZATION)
        built = folder / "keda.yaml"
        built.write_text(run([self.kubectl, "kustomize", folder]))
        return str(built)

    def metrics_server(self) -> str | None:
        """It is part of the node."""
        return None

    def _path(self, artifact: str) -> str:
        return run([self.kind, "get", "path", artifact]).strip()


@dataclass(frozen=True)
class Kind:
    """kind with Docker."""

    kind: str = "kind"
    kubectl: str = "kubectl"

    def prepare(self, parts: str = "") -> None:
        """Nothing to do: Docker, kind and kubectl are there."""

    def build_images(self) -> None:
        """Build with Docker."""
        for tag, dockerfile in IMAGES.items():
            stream(["docker", "build", "-t", tag, "-f", dockerfile, "."])

    def create(self) -> None:
        """Create the cluster unless it is up."""
        create_cluster(self.kind)

    def load_images(self) -> None:
        """Copy the images into the node's container."""
        for tag in IMAGES:
            stream([self.kind, "load", "docker-image", tag, "--name", CLUSTER])

    def tag(self, image: str, name: str) -> None:
        """Name it in Docker, and load it once more."""
        run(["docker", "tag", image, name])
        run([self.kind, "load", "docker-image", name, "--name", CLUSTER])

    def delete(self) -> None:
        """End the cluster."""
        stream([self.kind, "delete", "cluster", "--name", CLUSTER])

    def prometheus_crds(self) -> str:
        """The file of the release that manifests/monitoring pins."""
        return _PROMETHEUS_CRDS

    def keda(self) -> str:
        """The file of the release."""
        return _KEDA_RELEASE

    def metrics_server(self) -> str | None:
        """None comes with kind, and autoscalers on cpu need it."""
        return "tests/harness/metrics-server"


def create_cluster(kind: str) -> None:
    """Create the cluster unless one of its name is up; write the kubeconfig either way."""
    KUBECONFIG.parent.mkdir(exist_ok=True)
    if is_up(kind):
        KUBECONFIG.write_text(run([kind, "get", "kubeconfig", "--name", CLUSTER]))
        KUBECONFIG.chmod(0o600)
        return
    stream([kind, "create", "cluster", "--name", CLUSTER, "--kubeconfig", KUBECONFIG])


def is_up(kind: str) -> bool:
    """Whether the cluster exists."""
    return CLUSTER in run([kind, "get", "clusters"]).split()


def choose() -> Provider:
    """The provider that this machine can have.

    Exits with one line that says what to install where there is none.
    """
    if _docker_answers() and shutil.which("kind") and shutil.which("kubectl"):
        return Kind()
    if platform.system() == "Linux" and os.geteuid() == 0 and shutil.which("go"):
        return LocalNode()
    sys.exit(
        "No way to a cluster: install Docker, kind and kubectl — or run as root on "
        "Debian 12 with Go 1.26 or newer for the local node."
    )


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        done = subprocess.run(
            [docker, "info"], capture_output=True, check=False, timeout=10, cwd=Path("/")
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
