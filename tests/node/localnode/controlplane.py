"""A Kubernetes API server with its etcd and controller-manager, in one folder.

`node` builds a cluster around it; integration tests use it alone, on loopback:

    with ControlPlane(tmp_path) as plane:
        plane.kubeconfig(tmp_path / "kubeconfig")

It needs no root, no container runtime and no network set-up, and any number of
them run side by side. Every write is in `audit_log`, one JSON object a line.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from localnode.commands import run
from localnode.errors import NodeError
from localnode.kubeconfig import build_kubeconfig, write_kubeconfig
from localnode.pki import Authority
from localnode.processes import Process, Supervisor
from localnode.toolchain import binary_path
from localnode.versions import load_versions

SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.244.0.0/16"
_API_SERVICE_IP = "10.96.0.1"
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05
_MASTERS = ("system:masters",)

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "None"},
    ],
}

# Token users of every control plane: name -> groups. `kubeconfig` knows these names.
_USERS: dict[str, tuple[str, ...]] = {
    "admin": _MASTERS,
    "kwok": _MASTERS,
    "system:kube-controller-manager": (),
    "system:kube-scheduler": (),
    "system:kube-proxy": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the API server listens, and the address under which clients know it."""

    bind_address: str
    port: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Return the address for clients on this machine."""
        return f"https://{self.host}:{self.port}"


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that is free right now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager, started and ended together."""

    def __init__(
        self,
        directory: Path,
        *,
        with_controller_manager: bool = True,
        users: Mapping[str, tuple[str, ...]] | None = None,
        endpoint: Endpoint | None = None,
        api_server_flags: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.audit_log = directory / "audit.log"
        self.ca_file = directory / "pki" / "ca.crt"
        self.endpoint = endpoint or Endpoint(bind_address="127.0.0.1", port=free_port())
        self.url = self.endpoint.url
        self.supervisor = Supervisor(directory)
        self._users = _USERS | dict(users or {})
        self._tokens = {user: secrets.token_hex(16) for user in self._users}
        self._api_server_flags = tuple(api_server_flags)
        self._with_controller_manager = with_controller_manager
        self._tools = load_versions().tools

    def __enter__(self) -> Self:
        # A block's end may never come: a test run that is killed leaves nothing behind.
        self.supervisor = Supervisor(self.directory, ends_with_us=True)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def admin_token(self) -> str:
        """Return the bearer token of a member of system:masters."""
        return self._tokens["admin"]

    def start(self) -> None:
        """Start everything and return once the API server is ready for requests."""
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = Authority(self.directory / "pki")
        etcd_url, etcd = self._start_etcd()
        server = self._start_api_server(authority, etcd_url)
        self._wait_until(self._is_ready, [etcd, server], "the API server")
        if self._with_controller_manager:
            self.start_controllers()

    def start_controllers(self) -> None:
        """Start kube-controller-manager, and return once it works."""
        manager = self._start_controller_manager()
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_until(lambda: self._answers(path), [manager], "its controllers")

    def start_scheduler(self) -> None:
        """Start kube-scheduler, which binds pods to whatever nodes there are."""
        folder = self.directory
        config = self.kubeconfig(
            folder / "scheduler.kubeconfig", user="system:kube-scheduler", url=self.internal_url
        )
        command = [
            self.binary("kubernetes", "kube-scheduler"),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--cert-dir={folder / 'pki' / 'scheduler'}",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]
        self.supervisor.start("kube-scheduler", command)

    def stop(self) -> None:
        """End what was started; the data is of no further use."""
        self.supervisor.stop(timeout_seconds=2.0)

    def token(self, user: str) -> str:
        """Return the bearer token of a user of this control plane."""
        if user.startswith("system:serviceaccount:"):
            return self._service_account_token(user)
        if user not in self._tokens:
            message = (
                f"no user {user!r} here; known are {', '.join(self._tokens)}, "
                "'system:serviceaccount:NAMESPACE:NAME', and those given as users={...}"
            )
            raise NodeError(message)
        return self._tokens[user]

    def kubeconfig(self, path: Path, *, user: str = "admin", url: str | None = None) -> Path:
        """Write a kubeconfig for a user (or a service account), perhaps through a proxy's url."""
        return write_kubeconfig(path, self.build_kubeconfig(user=user, url=url))

    def build_kubeconfig(
        self, *, name: str = "localnode", user: str = "admin", url: str | None = None
    ) -> dict[str, Any]:
        """Build the kubeconfig that `kubeconfig` writes."""
        ca = self.ca_file.read_bytes()
        return build_kubeconfig(name=name, url=url or self.url, ca=ca, token=self.token(user))

    def binary(self, tool: str, name: str) -> str:
        """Return a built binary's path as an argument."""
        return str(binary_path(self._tools[tool], name))

    def _start_etcd(self) -> tuple[str, Process]:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        command = [
            self.binary("etcd", "etcd"),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        return client, self.supervisor.start("etcd", command)

    def _start_api_server(self, authority: Authority, etcd_url: str) -> Process:
        serving = authority.sign(
            "apiserver",
            common_name="kube-apiserver",
            names=(
                "IP:127.0.0.1",
                f"IP:{_API_SERVICE_IP}",
                f"IP:{self.endpoint.bind_address}",
                *(f"DNS:{name}" for name in ("localhost", "kubernetes", "kubernetes.default")),
                "DNS:kubernetes.default.svc",
                "DNS:kubernetes.default.svc.cluster.local",
            ),
        )
        kubelet = authority.sign(
            "kubelet-client", common_name="kube-apiserver", organisation="system:masters"
        )
        proxy = authority.sign("front-proxy-client", common_name="front-proxy-client")
        public, private = authority.make_key_pair("service-accounts")
        command = [
            self.binary("kubernetes", "kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            f"--bind-address={self.endpoint.bind_address}",
            f"--advertise-address={self.endpoint.bind_address}",
            f"--secure-port={self.endpoint.port}",
            f"--tls-cert-file={serving[0]}",
            f"--tls-private-key-file={serving[1]}",
            f"--client-ca-file={authority.certificate}",
            f"--kubelet-client-certificate={kubelet[0]}",
            f"--kubelet-client-key={kubelet[1]}",
            f"--proxy-client-cert-file={proxy[0]}",
            f"--proxy-client-key-file={proxy[1]}",
            f"--requestheader-client-ca-file={authority.certificate}",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={private}",
            f"--token-auth-file={self._write_tokens()}",
            f"--audit-policy-file={self._write_audit_policy()}",
            f"--audit-log-path={self.audit_log}",
            *_API_SERVER_FLAGS,
            *self._api_server_flags,
        ]
        if self.endpoint.bind_address.startswith("127."):
            # No pod will ever ask for it, and a loopback endpoint is invalid.
            command.append("--endpoint-reconciler-type=none")
        return self.supervisor.start("kube-apiserver", command)

    def _start_controller_manager(self) -> Process:
        folder = self.directory
        config = self.kubeconfig(
            folder / "controller-manager.kubeconfig",
            user="system:kube-controller-manager",
            url=self.internal_url,
        )
        command = [
            self.binary("kubernetes", "kube-controller-manager"),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--root-ca-file={self.ca_file}",
            f"--service-account-private-key-file={folder / 'pki' / 'service-accounts.key'}",
            f"--cluster-signing-cert-file={self.ca_file}",
            f"--cluster-signing-key-file={folder / 'pki' / 'ca.key'}",
            f"--cert-dir={folder / 'pki' / 'controller-manager'}",
            f"--secure-port={free_port()}",
            *_CONTROLLER_MANAGER_FLAGS,
        ]
        return self.supervisor.start("kube-controller-manager", command)

    @property
    def internal_url(self) -> str:
        """Return the address the node's own programs use: no rule of the firewall between."""
        return f"https://{self.endpoint.bind_address}:{self.endpoint.port}"

    def _write_tokens(self) -> Path:
        path = self.directory / "tokens.csv"
        path.touch(mode=0o600)
        lines = (
            f'{self._tokens[user]},{user},{user},"{",".join(groups)}"'
            for user, groups in self._users.items()
        )
        path.write_text("\n".join(lines) + "\n")
        return path

    def _write_audit_policy(self) -> Path:
        path = self.directory / "audit-policy.json"
        path.write_text(json.dumps(_AUDIT_POLICY))
        return path

    def _is_ready(self) -> bool:
        return self._answers("/readyz")

    def _answers(self, path: str) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(  # noqa: S310 - always https
            f"{self.internal_url}{path}", headers={"Authorization": f"Bearer {self.admin_token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2, context=context) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _wait_until(self, check: Callable[[], bool], processes: list[Process], what: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not check():
            for process in processes:
                if not process.alive:
                    raise NodeError(self.supervisor.explain_exit(process.name))
            if time.monotonic() > deadline:
                message = (
                    f"{what} did not get ready in {_READY_SECONDS:.0f} s; "
                    f"read the logs in {self.directory / 'logs'}"
                )
                raise NodeError(message)
            time.sleep(_POLL_SECONDS)

    def _service_account_token(self, user: str) -> str:
        namespace, name = user.split(":")[2:]
        config = self.kubeconfig(self.directory / "admin.kubeconfig", url=self.internal_url)
        kubectl = [self.binary("kubernetes", "kubectl"), f"--kubeconfig={config}"]
        command = [*kubectl, "create", "token", name, "-n", namespace, "--duration=24h"]
        return run(command, env={"KUBECACHEDIR": str(self.directory / "kubectl")}).strip()


_API_SERVER_FLAGS = (
    f"--service-cluster-ip-range={SERVICE_CIDR}",
    "--authorization-mode=Node,RBAC",
    "--allow-privileged=true",
    "--enable-admission-plugins=NodeRestriction",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-username-headers=X-Remote-User",
    "--enable-aggregator-routing=true",
    # The node's name is in nobody's DNS.
    "--kubelet-preferred-address-types=InternalIP",
    # One file, not a series of them: tests read the ledger from its start.
    "--audit-log-maxsize=2000",
    "--profiling=false",
)

_CONTROLLER_MANAGER_FLAGS = (
    # Without credentials of their own every controller is forbidden everything.
    "--use-service-account-credentials=true",
    "--leader-elect=false",
    "--bind-address=127.0.0.1",
    "--allocate-node-cidrs=true",
    f"--cluster-cidr={POD_CIDR}",
    f"--service-cluster-ip-range={SERVICE_CIDR}",
    "--kube-api-qps=200",
    "--kube-api-burst=400",
    "--horizontal-pod-autoscaler-sync-period=5s",
    "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
    "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
    "--horizontal-pod-autoscaler-downscale-stabilization=60s",
)
