"""A real Alertmanager for tests, with the configuration that is shipped or another one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def shipped_config() -> str:
    """The configuration that manifests/monitoring ships."""
    documents = yaml.safe_load_all((ROOT / "manifests/monitoring/alertmanager.yaml").read_text())
    (secret,) = (it for it in documents if it["kind"] == "Secret")
    return str(secret["stringData"]["alertmanager.yaml"])


def find_amtool() -> str:
    """Path of Alertmanager's command line, or a failure that says how to get it."""
    return _find("amtool")


class AlertmanagerProcess:
    """One Alertmanager of a test's own; a context manager."""

    def __init__(self, folder: Path, config: str) -> None:
        self._folder = folder
        (folder / "alertmanager.yaml").write_text(config)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        command = [
            _find("prometheus-alertmanager", "alertmanager"),
            f"--config.file={self._folder / 'alertmanager.yaml'}",
            f"--storage.path={self._folder / 'alertmanager'}",
            f"--web.listen-address={self.host}",
            "--cluster.listen-address=",
        ]
        with (self._folder / "alertmanager.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it has."""
        found: list[dict[str, Any]] = self.ask("/api/v2/alerts")
        return found

    def expire(self, silence: str) -> None:
        """End a silence."""
        url = f"{self.url}/api/v2/silence/{silence}"
        request = urllib.request.Request(url, method="DELETE")  # noqa: S310 - always http
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - same

    def ask(self, path: str, body: Any = None) -> Any:
        """One call of its API, repeated until it is up."""
        request = urllib.request.Request(  # noqa: S310 - always http
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - same
                    return json.loads(answer.read() or "null")
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _find(*names: str) -> str:
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail(f"{names[-1]} is missing: run `make parts`, or install it")
    return program
