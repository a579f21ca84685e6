"""Two servers of one model: ours, and Triton by way of PyTriton.

They run where they are asked for: by `make conformance`, which says in IGW_REFERENCE_PYTHON which
interpreter has PyTriton.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from conformance.pair import Pair, Server
from runtime_kit.colours import write_package
from runtime_kit.process import a_server, fetch, free_port, wait_until

_HERE: Final = Path(__file__).parent
_PYTHON: Final = "IGW_REFERENCE_PYTHON"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the comparison out of runs that did not ask for it."""
    asked = "conformance" in str(config.getoption("markexpr")) or any(
        "conformance" in it for it in config.args
    )
    return None if asked or collection_path == _HERE / "conftest.py" else True


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Start both servers."""
    folder = tmp_path_factory.mktemp("pair")
    write_package(folder / "models" / "colours")
    settings = {"model": {"name": "colours"}, "serving": {"drainSeconds": 0}}
    with (
        a_server(folder, folder / "models", settings, grpc=True) as ours,
        _a_reference(folder) as theirs,
    ):
        yield Pair(ours=Server(http=ours.port, grpc=ours.grpc_port), theirs=theirs)


@contextmanager
def _a_reference(folder: Path) -> Iterator[Server]:
    python = os.environ.get(_PYTHON)
    assert python, f"{_PYTHON} is not set; run `make conformance`"
    server = Server(http=free_port(), grpc=free_port())
    ports = [str(port) for port in (server.http, server.grpc, free_port())]
    log = folder / "reference.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [python, str(_HERE / "reference.py"), *ports], stdout=stream, stderr=stream
        )
    ready = f"http://127.0.0.1:{server.http}/v2/models/pictures/ready"
    try:
        wait_until(lambda: fetch(ready)[0] == 200 or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()[-2000:]
        yield server
    finally:
        process.terminate()
        process.wait(30)
