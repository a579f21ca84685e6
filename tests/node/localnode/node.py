"""Creates and deletes the one cluster of this machine, and says how it is doing.

The control plane is `controlplane`'s; this module adds what makes it a node:
containerd, kubelet, kube-proxy, the scheduler, NetworkPolicy enforcement, DNS
and metrics. Called by `cli`.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localnode.cleanup import (
    CGROUP_NAME,
    CLUSTER_FOLDER,
    make_cgroups,
    record_folders,
    remove_cluster,
)
from localnode.commands import run
from localnode.controlplane import POD_CIDR, SERVICE_CIDR, ControlPlane, Endpoint, free_port
from localnode.errors import NodeError
from localnode.images import ImageStore
from localnode.logs import export_logs
from localnode.network import NODE_ADDRESS, set_up_network
from localnode.paths import NODE_FOLDER, STATE
from localnode.processes import Supervisor
from localnode.progress import format_duration, say
from localnode.runtime import SOCKET, import_stored_images, start_containerd

_RECORD = STATE / "cluster.json"
# Between the NodePorts and the ports that clients get, where nobody else picks one.
_API_PORTS = range(20000, 30000)
_METRICS_PORT = 4443
_READY_SECONDS = 90.0
_KUBELET_USER = "system:node:{node}"
_ROOT_USERS = ("system:kube-router", "system:metrics-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is known about the created cluster."""

    name: str
    url: str
    internal_url: str
    kubeconfig: dict[str, Any]
    audit_log: str

    @property
    def node_name(self) -> str:
        """Return the node's name, in kind's shape."""
        return f"{self.name}-control-plane"


def find_cluster() -> Cluster | None:
    """Return the created cluster, running or not."""
    try:
        return Cluster(**json.loads(_RECORD.read_text()))
    except FileNotFoundError:
        return None


def is_running() -> bool:
    """Tell whether every program of the cluster is alive."""
    recorded = Supervisor(CLUSTER_FOLDER).recorded()
    return bool(recorded) and all(process.alive for process in recorded)


def require_cluster(name: str) -> Cluster:
    """Return the running cluster of that name, or say how to get it."""
    cluster = find_cluster()
    if cluster is None or cluster.name != name or not is_running():
        message = (
            f"no cluster {name!r} runs here; run 'tests/node/kind create cluster --name {name}'"
        )
        raise NodeError(message)
    return cluster


def create_cluster(name: str) -> Cluster:
    """Create the cluster and return once its node is Ready and DNS answers."""
    _clear_the_way(name)
    begin = time.monotonic()
    builder = _Builder(name)
    try:
        cluster = builder.create()
    except BaseException:
        logs = builder.save_logs()
        remove_cluster(keep_images=True)
        say(f"The node was removed again; its logs are in {logs}")
        raise
    say(f"Node {cluster.node_name} ready in {format_duration(builder.ready_at - begin)}")
    say(f"Images and DNS ready in {format_duration(time.monotonic() - begin)}")
    return cluster


def delete_cluster(name: str) -> bool:
    """Delete the cluster of that name; tell whether there was one."""
    cluster = find_cluster()
    if cluster is None or cluster.name != name:
        return False
    remove_cluster(keep_images=True)
    return True


def _clear_the_way(name: str) -> None:
    existing = find_cluster()
    if existing is not None and is_running():
        hint = f"'tests/node/kind delete cluster --name {existing.name}'"
        what = "already exists" if existing.name == name else "runs, and there is room for one"
        message = f"cluster {existing.name!r} {what}; run {hint}"
        raise NodeError(message)
    if CLUSTER_FOLDER.exists() or existing is not None:
        say("Removing what an earlier run left …")
        remove_cluster(keep_images=True)


class _Builder:
    """Starts the parts in order; those that need not wait for each other, together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.node = f"{name}-control-plane"
        self.supervisor = Supervisor(CLUSTER_FOLDER)
        self.ready_at = 0.0
        port = _pick_api_port()
        users = dict.fromkeys(_ROOT_USERS, ("system:masters",))
        users[_KUBELET_USER.format(node=self.node)] = ("system:nodes",)
        self.plane = ControlPlane(
            CLUSTER_FOLDER,
            users=users,
            endpoint=Endpoint(bind_address=NODE_ADDRESS, port=port),
        )

    def create(self) -> Cluster:
        record_folders()
        CLUSTER_FOLDER.mkdir(parents=True, exist_ok=True)
        set_up_network(self.plane.endpoint.port)
        make_cgroups()
        importing = _Background(self._start_runtime)
        self.plane.start()
        self.plane.start_scheduler()
        self._start_proxy()
        importing.wait_for_runtime()
        self._start_kubelet()
        self._start_metrics()
        self._apply_addons()
        self._wait_for_node("{.metadata.name}", self.node)
        # It gives up at once when it does not find its node.
        self._start_policy_enforcement()
        self._wait_for_node('{.status.conditions[?(@.type=="Ready")].status}', "True")
        self.ready_at = time.monotonic()
        self._kubectl("label", "node", self.node, "node-role.kubernetes.io/control-plane=")
        importing.join()
        self._kubectl(
            "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s"
        )
        return self._record()

    def save_logs(self) -> Path:
        """Keep the logs of a failed start outside what is removed."""
        return export_logs(Path("igw-node-logs"))

    def _start_runtime(self, started: threading.Event) -> None:
        start_containerd(self.supervisor)
        started.set()
        import_stored_images(ImageStore())

    def _config_for(self, user: str, name: str) -> Path:
        path = CLUSTER_FOLDER / f"{name}.kubeconfig"
        return self.plane.kubeconfig(path, user=user, url=self.plane.internal_url)

    def _binary(self, name: str, tool: str = "kubernetes") -> str:
        return self.plane.binary(tool, name)

    def _start_proxy(self) -> None:
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": POD_CIDR,
            "hostnameOverride": self.node,
            "nodePortAddresses": ["127.0.0.0/8"],
            "conntrack": {"maxPerCore": 0},
            "iptables": {"minSyncPeriod": "100ms"},
            "metricsBindAddress": f"127.0.0.1:{free_port()}",
            "healthzBindAddress": f"127.0.0.1:{free_port()}",
            "clientConnection": {"kubeconfig": str(self._config_for("system:kube-proxy", "proxy"))},
        }
        path = _write_json("kube-proxy.json", config)
        self.supervisor.start("kube-proxy", [self._binary("kube-proxy"), f"--config={path}"])

    def _start_kubelet(self) -> None:
        user = _KUBELET_USER.format(node=self.node)
        command = [
            self._binary("kubelet"),
            f"--config={_write_json('kubelet.json', _build_kubelet_config(self.plane.ca_file))}",
            f"--kubeconfig={self._config_for(user, 'kubelet')}",
            f"--hostname-override={self.node}",
            f"--node-ip={NODE_ADDRESS}",
            f"--root-dir={STATE / 'kubelet'}",
            f"--cert-dir={CLUSTER_FOLDER / 'pki' / 'kubelet'}",
        ]
        self.supervisor.start("kubelet", command)

    def _start_policy_enforcement(self) -> None:
        command = [
            self._binary("kube-router", "kube-router"),
            f"--kubeconfig={self._config_for('system:kube-router', 'kube-router')}",
            f"--hostname-override={self.node}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-firewall=true",
            f"--health-port={free_port()}",
        ]
        self.supervisor.start("kube-router", command, {"NODE_NAME": self.node})

    def _start_metrics(self) -> None:
        config = self._config_for("system:metrics-server", "metrics-server")
        command = [
            self._binary("metrics-server", "metrics-server"),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--cert-dir={CLUSTER_FOLDER / 'pki' / 'metrics-server'}",
            f"--bind-address={NODE_ADDRESS}",
            f"--secure-port={_METRICS_PORT}",
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-request-timeout=5s",
            "--metric-resolution=15s",
        ]
        self.supervisor.start("metrics-server", command)

    def _apply_addons(self) -> None:
        self._kubectl("apply", "--server-side", "-f", str(NODE_FOLDER / "addons"))

    def _wait_for_node(self, path: str, expected: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        query = ["get", "node", self.node, "--ignore-not-found", f"-o=jsonpath={path}"]
        while self._kubectl(*query) != expected:
            for process in self.supervisor.recorded():
                if not process.alive:
                    raise NodeError(self.supervisor.explain_exit(process.name))
            if time.monotonic() > deadline:
                message = f"the node was not Ready in {_READY_SECONDS:.0f} s; read kubelet's log"
                raise NodeError(message)
            time.sleep(0.2)

    def _kubectl(self, *arguments: str) -> str:
        config = self._config_for("admin", "admin")
        # Or it fills the user's own cache with what it learns about a passing cluster.
        quiet = {"KUBECACHEDIR": str(CLUSTER_FOLDER / "kubectl")}
        return run([self._binary("kubectl"), f"--kubeconfig={config}", *arguments], env=quiet)

    def _record(self) -> Cluster:
        context = f"kind-{self.name}"
        cluster = Cluster(
            name=self.name,
            url=self.plane.url,
            internal_url=self.plane.internal_url,
            kubeconfig=self.plane.build_kubeconfig(name=context),
            audit_log=str(self.plane.audit_log),
        )
        _RECORD.touch(mode=0o600)
        _RECORD.write_text(json.dumps(asdict(cluster)))
        return cluster


class _Background:
    """The runtime's start and the import of images, beside the control plane's start."""

    def __init__(self, act: Any) -> None:
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._act = act
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act(self._started)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
            self._started.set()

    def wait_for_runtime(self) -> None:
        self._started.wait()
        self._raise()

    def join(self) -> None:
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _build_kubelet_config(ca_file: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca_file)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP_NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": _find_resolv_conf(),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        # A changed ConfigMap reaches its pods within seconds: tests wait for that.
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "syncFrequency": "10s",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 200,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "serializeImagePulls": False,
        "volumePluginDir": str(STATE / "volume-plugins"),
    }


def _find_resolv_conf() -> str:
    """Return a resolver file whose servers a pod can reach: not a stub on loopback."""
    uplink = Path("/run/systemd/resolve/resolv.conf")
    return str(uplink) if uplink.exists() else "/etc/resolv.conf"


def _write_json(name: str, value: dict[str, Any]) -> Path:
    path = CLUSTER_FOLDER / name
    path.write_text(json.dumps(value, indent=2))
    return path


def _pick_api_port() -> int:
    for port in random.sample(_API_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    message = f"no free port on 127.0.0.1 between {_API_PORTS.start} and {_API_PORTS.stop}"
    raise NodeError(message)


__all__ = ["Cluster", "create_cluster", "delete_cluster", "find_cluster", "require_cluster"]
