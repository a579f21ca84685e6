"""The operator as a process of its own, with the rights that the manifests give it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import yaml

from integration.cluster import OPERATOR_USER, Cluster, Manifest, wait_for
from localnode.controlplane import ControlPlane, free_port

ROOT = Path(__file__).parents[2]


class OperatorProcess:
    """Starts, stops and asks one operator."""

    def __init__(self, plane: ControlPlane, folder: Path, **settings: str) -> None:
        self._kubeconfig = plane.kubeconfig(folder / "operator.kubeconfig", user=OPERATOR_USER)
        self._settings = settings
        self.log = folder / "operator.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._health = 0
        self._metrics = 0

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it watches."""
        self._health, self._metrics = free_port(), free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "HOME": "/nonexistent",
            "IGW_CAPABILITIES_SECONDS": "5",
            "IGW_IDENTITY": f"test-{time.monotonic_ns()}",
            **self._settings,
        }
        command = [sys.executable, "-W", "error::DeprecationWarning:igw_operator", "-m"]
        command += ["igw_operator", "run", "--kubeconfig", str(self._kubeconfig)]
        command += ["--health-port", str(self._health), "--metrics-port", str(self._metrics)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        if wait:
            wait_for(self.is_healthy, "the operator to be healthy", timeout_seconds=40)

    def stop(self) -> int:
        """End it as a kubelet does, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=20)
        finally:
            self._end()

    def kill(self) -> None:
        """End it as a power failure does."""
        self._end()

    def metric(self, name: str, **labels: str) -> float | None:
        """One sample of its own metrics."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        for series, value in self.metrics(name).items():
            if all(it in series for it in wanted):
                return value
        return None

    def metrics(self, name: str) -> dict[str, float]:
        """Every sample of one of its own metrics, by series."""
        url = f"http://127.0.0.1:{self._metrics}/metrics"
        text = httpx.get(url, trust_env=False, timeout=30).text
        samples = (line.rpartition(" ") for line in text.splitlines())
        return {
            series: float(value) for series, _, value in samples if series.partition("{")[0] == name
        }

    @property
    def metrics_port(self) -> int:
        """Where its own metrics are."""
        return self._metrics

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def errors(self) -> list[str]:
        """Tracebacks and crashes in its log, but kopf's word about an API that was removed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        wrong = (line for line in lines if "Traceback" in line or '"exception"' in line)
        return [line for line in wrong if '"exc_type": "APINotFoundError"' not in line]

    def is_healthy(self) -> bool:
        """Whether it is alive, active, and watches."""
        return self.probe("healthz") == (200, "active")

    def probe(self, path: str) -> tuple[int, str]:
        """What it answers to a probe of the kubelet: the code, and its role; 0: nothing."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            url = f"http://127.0.0.1:{self._health}/{path}"
            answer = httpx.get(url, trust_env=False, timeout=2)
        except httpx.TransportError:
            return 0, ""
        return answer.status_code, answer.json()["role"]

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def install(cluster: Cluster, *, prometheus_crds: Path | None) -> None:
    """CRDs, the operator's rights and a default runtime, from the files that are shipped."""
    files = [ROOT / "crds" / f"{name}.yaml" for name in ("inferencegateways", "inferenceruntimes")]
    if prometheus_crds is not None:
        install_prometheus_crds(cluster, prometheus_crds)
    files += [
        ROOT / "manifests" / "base" / f"{name}.yaml" for name in ("namespace", "operator-rbac")
    ]
    for file in files:
        for manifest in yaml.safe_load_all(file.read_text()):
            cluster.apply(manifest)
    runtime = yaml.safe_load((ROOT / "manifests" / "base" / "default-runtime.yaml").read_text())
    wait_for(lambda: _try(cluster, runtime), "the CRDs to be served")


def install_prometheus_crds(cluster: Cluster, folder: Path) -> None:
    """The two kinds that the operator writes, and the one that it reads."""
    for name in ("servicemonitors", "prometheusrules", "prometheuses"):
        text = (folder / f"monitoring.coreos.com_{name}.yaml").read_text()
        cluster.apply(yaml.safe_load(text))


def install_gateway_api(cluster: Cluster, folder: Path) -> None:
    """The kind that the operator writes, and the one that it reads."""
    for name in ("httproutes", "gateways"):
        text = (folder / f"gateway.networking.k8s.io_{name}.yaml").read_text()
        cluster.apply(yaml.safe_load(text))


def install_opentelemetry(cluster: Cluster, folder: Path) -> None:
    """The kind that the operator writes."""
    text = (folder / "opentelemetry.io_opentelemetrycollectors.yaml").read_text()
    cluster.apply(yaml.safe_load(text))


def _try(cluster: Cluster, manifest: Manifest) -> bool:
    try:
        cluster.apply(manifest)
    except Exception:  # noqa: BLE001 - a 404 while the kind is not served yet
        return False
    return True
