"""The server keeps to its own OpenAPI document, whatever is asked of it.

Schemathesis makes the requests: valid ones, ones that break a rule of the document, and methods
that are not in it. It is not among the project's own packages: `make fuzz-api` says in
IGW_SCHEMATHESIS where it is.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from runtime_kit.colours import write_package
from runtime_kit.process import ServerProcess, a_server

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(900)]
_PROGRAM: Final = "IGW_SCHEMATHESIS"
_CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
SETTINGS: Final = {
    "model": {"name": "colours"},
    "serving": {"drainSeconds": 0, "maxBodyBytes": 200_000, "bodyTimeoutSeconds": 2},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the smallest model."""
    write_package(tmp_path / "models" / "colours")
    with a_server(tmp_path, tmp_path / "models", SETTINGS) as running:
        yield running


def test_server_keeps_to_its_document(server: ServerProcess, tmp_path: Path) -> None:
    """No operation fails, and every answer is one that the document has."""
    program = os.environ.get(_PROGRAM)
    assert program, f"{_PROGRAM} is not set; run `make fuzz-api`"

    done = subprocess.run(
        [
            *(program, "--config-file", str(_CONFIG), "run", server.url("/openapi.json")),
            *("--url", server.url(""), "--no-color"),
        ],
        cwd=tmp_path,  # it leaves a folder behind
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-30_000:] + done.stderr[-5_000:]
    assert server.process.poll() is None
    assert [it for name in ("request_failed", "worker_failed") for it in server.events(name)] == []
    assert server.get("/ready")[0] == 200
