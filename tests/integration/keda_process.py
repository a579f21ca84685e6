"""KEDA's own operator as a process beside a private API server.

Its second half, the server of external metrics, is not needed to see who scales what: an HPA
without it keeps within its bounds and changes nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx
import yaml

from integration.cluster import Cluster, RefusedError, wait_for
from localnode.controlplane import ControlPlane, free_port
from localnode.pki import Authority
from localnode.toolchain import binary_path, tool_folder
from localnode.versions import load_versions

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCALED_OBJECTS = f"{_CRDS}/scaledobjects.keda.sh"


class KedaProcess:
    """Starts and stops KEDA."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.log = folder / "keda.log"
        self._config = plane.kubeconfig(folder / "keda.kubeconfig")
        self._certificates = _make_certificates(folder / "keda-certificates")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        tool = load_versions().tools["keda"]
        health = free_port()
        command = [
            str(binary_path(tool, "keda")),
            f"--kubeconfig={self._config}",
            f"--cert-dir={self._certificates}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
            f"--metrics-bind-address=127.0.0.1:{free_port()}",
            f"--metrics-service-bind-address=127.0.0.1:{free_port()}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "WATCH_NAMESPACE": "",
            "POD_NAMESPACE": "default",
            "KEDA_CLUSTER_OBJECT_NAMESPACE": "default",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: self._answers(health), "KEDA to be ready", timeout_seconds=60)

    def stop(self) -> None:
        """End it, whether it runs or not."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=20)

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            url = f"http://127.0.0.1:{port}/readyz"
            return httpx.get(url, trust_env=False, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def install_keda_crds(cluster: Cluster) -> None:
    """All of KEDA's kinds: it does not start without any of them."""
    folder = tool_folder(load_versions().tools["keda"]) / "share" / "keda-crds"
    for file in sorted(folder.glob("*.yaml")):
        cluster.apply(yaml.safe_load(file.read_text()))
    wait_for(lambda: serves_keda(cluster), "ScaledObjects to be served")


def serves_keda(cluster: Cluster) -> bool:
    """Whether the API server knows ScaledObjects."""
    try:
        cluster.request("GET", "/apis/keda.sh/v1alpha1/scaledobjects")
    except RefusedError:
        return False
    return True


def _make_certificates(folder: Path) -> Path:
    """What KEDA's operator shows to its other half, in the files where it looks for them."""
    authority = Authority(folder)
    certificate, key = authority.sign("tls", common_name="keda-operator", names=("IP:127.0.0.1",))
    assert (certificate.name, key.name) == ("tls.crt", "tls.key")
    return folder
