"""A real server process on free loopback ports, with its log, its exit code and its files."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RUNTIME = Path(__file__).resolve().parents[2] / "runtime"


@dataclass(slots=True, kw_only=True)
class ServerProcess:
    """One running `python -m igw_runtime serve`."""

    process: "subprocess.Popen[bytes]"
    port: int
    metrics_port: int
    grpc_port: int
    config: Path
    log_path: Path
    termination_log: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and body; status 0 if nobody listens."""
        return fetch(self.url(path))

    def predict(self, image: bytes, content_type: str = "image/png") -> tuple[int, bytes]:
        return fetch(self.url("/predict"), image, {"Content-Type": content_type})

    def metrics(self) -> str:
        return fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")[1].decode()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events of one name; every line of the log must be JSON."""
        # Not `splitlines`: to it, a request's path may hold ends of lines (U+0085, U+2028).
        *whole, _ = self.log_path.read_text().split("\n")  # the last may be half-written
        lines = [json.loads(line) for line in whole]
        return [line for line in lines if line["message"] == name]

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def fetch(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Make one request on a connection of its own."""
    request = urllib.request.Request(url, body, headers or {})  # noqa: S310  loopback only
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return int(response.status), bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code), bytes(error.read())
    except OSError:
        return 0, b""


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    """Wait for the condition to hold."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def a_server(
    folder: Path,
    models: Path,
    settings: dict[str, Any],
    *,
    ready: bool = True,
    grpc: bool = False,
    log: Path | None = None,
    host: str = "127.0.0.1",
) -> Iterator[ServerProcess]:
    """Start a server with these settings; it is killed if the test did not stop it."""
    port, metrics_port, grpc_port = free_port(), free_port(), free_port() if grpc else 0
    config = folder / "runtime.json"
    listeners = {"port": port, "metricsPort": metrics_port, "grpcPort": grpc_port}
    content = {"schemaVersion": 1, "server": listeners}
    config.write_text(json.dumps(content | settings))
    termination_log = folder / "termination-log"
    termination_log.touch()
    environment = os.environ | {
        "IGW_MODELS": str(models),
        "IGW_TERMINATION_LOG": str(termination_log),
        "IGW_HOST": host,
        "PYTHONPATH": str(_RUNTIME),
    }
    log_path = log or folder / "server.log"
    with log_path.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "igw_runtime", "serve", "--config", str(config)],
            env=environment,
            stdout=stream,
            stderr=stream,
        )
    server = ServerProcess(
        process=process,
        port=port,
        metrics_port=metrics_port,
        grpc_port=grpc_port,
        config=config,
        log_path=log_path,
        termination_log=termination_log,
    )
    try:
        if ready:
            wait_until(lambda: server.get("/ready")[0] == 200 or process.poll() is not None)
        yield server
    finally:
        process.kill()
        process.wait()
