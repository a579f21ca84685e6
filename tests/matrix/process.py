"""The operator behind the fault proxy, with a kubelet that starts it again when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from integration.cluster import OPERATOR_USER, wait_for
from localnode.controlplane import ControlPlane, free_port
from localnode.kubeconfig import build_kubeconfig, write_kubeconfig
from matrix.proxy import FaultProxy

_ROOT: Final = Path(__file__).parents[2]
_RESTART_SECONDS: Final = 1.0
# The shortest that the settings allow; one request waits no longer than three seconds.
SETTINGS: Final = {
    "IGW_RESYNC_SECONDS": "5",
    "IGW_CAPABILITIES_SECONDS": "2",
    "IGW_REQUEST_TIMEOUT_SECONDS": "3",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment in an operator's life."""

    log_size: int
    exits: int


class SupervisedOperator:
    """Starts, kills and asks one operator; restarts it while it is wanted."""

    def __init__(
        self,
        plane: ControlPlane,
        proxy: FaultProxy,
        folder: Path,
        *,
        identity: str = "matrix",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = SETTINGS | dict(settings or {})
        self._plane = plane
        self._proxy = proxy
        self.log = folder / f"{identity}.log"
        self.kubeconfig = folder / f"{identity}.kubeconfig"
        self.renew_token()
        self.exits: list[int] = []
        self._identity = identity
        self._health, self._metrics = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._kubelet = threading.Thread(target=self._supervise, name="kubelet", daemon=True)
        self._kubelet.start()

    def renew_token(self) -> str:
        """Write a kubeconfig with a new token of the operator's account; return the token."""
        token = self._plane.token(OPERATOR_USER)
        ca = self._proxy.ca_file.read_bytes()
        config = build_kubeconfig(name="matrix", url=self._proxy.url, ca=ca, token=token)
        write_kubeconfig(self.kubeconfig, config)
        return token

    def start(self, *, wait: bool = True) -> None:
        """Start it and keep it running; wait until it watches."""
        with self._lock:
            self._wanted.set()
            if not self.is_alive():
                self._spawn()
        if wait:
            wait_for(self.is_healthy, "the operator to be healthy", timeout_seconds=90)

    def kill(self) -> None:
        """End it as a power failure does; it stays down until `start`."""
        with self._lock:
            self._wanted.clear()
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def stop(self) -> int:
        """End it as a kubelet does, and return its exit code."""
        with self._lock:
            self._wanted.clear()
            process = self._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def close(self) -> None:
        """End it and its kubelet."""
        self.kill()
        self._ended.set()
        self._kubelet.join(10)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does, as a paused machine does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def is_healthy(self) -> bool:
        """Whether it is alive, active, and watches."""
        try:
            url = f"http://127.0.0.1:{self._health}/healthz"
            answer = httpx.get(url, trust_env=False, timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["role"] == "active"

    def mark(self) -> Mark:
        """Now, in its log and its lives."""
        size = self.log.stat().st_size if self.log.exists() else 0
        return Mark(log_size=size, exits=len(self.exits))

    def log_since(self, since: Mark) -> list[str]:
        """The lines of its log since then."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(since.log_size)
            return log.read().decode(errors="replace").splitlines()

    def _spawn(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT / "operator"),
            "HOME": "/nonexistent",
            # The same for each of its lives: it need not wait for its own lease to expire.
            "IGW_IDENTITY": self._identity,
            **self._settings,
        }
        command = [sys.executable, "-m", "igw_operator", "run"]
        command += ["--kubeconfig", str(self.kubeconfig)]
        command += ["--health-port", str(self._health), "--metrics-port", str(self._metrics)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _supervise(self) -> None:
        while not self._ended.wait(_RESTART_SECONDS):
            with self._lock:
                if self._process is None or not self._wanted.is_set() or self.is_alive():
                    continue
                self.exits.append(self._process.returncode)
                self._spawn()


def token_of(kubeconfig: Path) -> str:
    """The token in a kubeconfig."""
    config: dict[str, Any] = json.loads(kubeconfig.read_text())
    return str(config["users"][0]["user"]["token"])
