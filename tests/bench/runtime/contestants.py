"""Who is measured: how each server is started, and how a picture is sent to it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.runtime import pictures
from bench.runtime.environments import ensure_environment
from bench.runtime.peers.bounds import CORES, DEADLINE_SECONDS

ROOT: Final = Path(__file__).parents[3]
OURS: Final = "ours"
PEERS: Final = ("litserve", "bentoml", "kserve", "mlserver", "pytriton")
_PEERS: Final = "bench.runtime.peers"


# Below those that connections are made from, as a load makes hundreds; each run begins elsewhere.
_ports: Final = (20_000 + (os.getpid() * 97 + step) % 10_000 for step in itertools.count())


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is executed, and where pictures go to."""

    command: list[str]
    port: int
    path: str
    ready: str
    """The path of the readiness probe."""
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where pictures are posted to."""
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One server in one set-up."""

    name: str
    title: str
    pack: pictures.Pack
    sends: str
    """The format in words."""
    prepare: Callable[[Path], Launch]
    """Make ready what the server needs, installed packages too, in a folder of its own."""
    headers: Mapping[str, str] | None = None


def choose_port() -> int:
    """Return a port that nobody has, and that nobody gets by connecting to somebody else."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def build_ours(package: Path, *, precision: str) -> Contestant:
    """Return our runtime with its defaults, and a drain as short as the bench can wait for."""

    def prepare(folder: Path) -> Launch:
        return launch_ours(folder, package, precision=precision, changes={})

    return Contestant(
        name=OURS,
        title="InferenceGateway",
        pack=pictures.pack_raw,
        sends="the JPEG as it is",
        prepare=prepare,
        headers={"X-Request-Timeout-Ms": str(DEADLINE_SECONDS * 1000)},
    )


def launch_ours(
    folder: Path,
    package: Path,
    *,
    precision: str,
    changes: Mapping[str, Any],
    module: str = "igw_runtime",
    environment: Mapping[str, str] | None = None,
) -> Launch:
    """Write settings, and say how the runtime is started with them."""
    port = choose_port()
    settings: dict[str, Any] = {
        "schemaVersion": 1,
        "server": {"port": port, "metricsPort": choose_port()},
        "model": {"name": package.name, "precision": precision},
        "serving": {"drainSeconds": 2},
        **changes,
    }
    config = folder / "runtime.json"
    config.write_text(json.dumps(settings))
    return Launch(
        command=[sys.executable, "-m", module, "serve", "--config", str(config)],
        port=port,
        path="/predict",
        ready="/ready",
        environment={
            "IGW_MODELS": str(package.parent),
            "IGW_HOST": "127.0.0.1",
            "PYTHONPATH": find_sources(),
            **(environment or {}),
        },
    )


def find_sources() -> str:
    """Return where modules of ours are found, and whatever else this process was told of.

    Absolute, as servers have working folders of their own.
    """
    also = [Path(it).resolve() for it in os.environ.get("PYTHONPATH", "").split(os.pathsep) if it]
    return os.pathsep.join(map(str, [ROOT / "runtime", ROOT / "tests", *also]))


def build_peers(package: Path, *, precision: str) -> list[Contestant]:
    """Return the peers of the first table: around our engine and the same model file."""
    environment = {"BENCH_PACKAGE": str(package), "BENCH_PRECISION": precision}
    return [_build_peer(name, "same", environment) for name in PEERS]


def build_documented() -> list[Contestant]:
    """Return the peers of the second table: torch eager, as their documentation shows it."""
    return [_build_peer(name, "documented", {}) for name in PEERS]


_TITLES: Final = {
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "kserve": "KServe SDK",
    "mlserver": "MLServer",
    "pytriton": "PyTriton (Triton)",
}
_READY: Final = {
    "litserve": "/health",
    "bentoml": "/readyz",
    "kserve": "/v2/health/ready",
    "mlserver": "/v2/models/classifier/ready",
    "pytriton": "/v2/models/classifier/ready",
}
_V2: Final = "/v2/models/classifier/infer"
_Way = tuple[pictures.Pack, str, str]
_WAYS: Final[Mapping[tuple[str, str], _Way]] = {
    ("litserve", "same"): (pictures.pack_json, "base64 in JSON", "/predict"),
    ("litserve", "documented"): (pictures.pack_json, "base64 in JSON", "/predict"),
    ("bentoml", "same"): (pictures.pack_form, "a form", "/classify"),
    ("bentoml", "documented"): (pictures.pack_form, "a form", "/classify"),
    ("kserve", "same"): (pictures.pack_v2_numbers, "a binary v2 tensor", _V2),
    ("kserve", "documented"): (
        pictures.pack_v1,
        "base64 in JSON, v1",
        "/v1/models/classifier:predict",
    ),
    ("mlserver", "same"): (pictures.pack_v2, "base64 in JSON, v2", _V2),
    ("mlserver", "documented"): (pictures.pack_v2, "base64 in JSON, v2", _V2),
    ("pytriton", "same"): (pictures.pack_v2_bytes, "a binary v2 tensor", _V2),
    ("pytriton", "documented"): (pictures.pack_v2_bytes, "a binary v2 tensor", _V2),
}


def _build_peer(name: str, variant: str, environment: Mapping[str, str]) -> Contestant:
    pack, sends, path = _WAYS[name, variant]

    def prepare(folder: Path) -> Launch:
        home = ensure_environment(name, torch=variant == "documented")
        port = choose_port()
        return Launch(
            command=_build_command(name, f"{_PEERS}.{name}.{variant}", home, folder, port),
            port=port,
            path=path,
            ready=_READY[name],
            environment={
                **environment,
                **_describe_surroundings(home, folder, port),
            },
        )

    return Contestant(
        name=name if variant == "same" else f"{name}-documented",
        title=_TITLES[name],
        pack=pack,
        sends=sends,
        prepare=prepare,
    )


def _describe_surroundings(home: Path, folder: Path, port: int) -> dict[str, str]:
    return {
        "BENCH_PORT": str(port),
        "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT / 'tests'}",
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        # Nothing is to be told to anybody about these runs.
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "LITSERVE_DISABLE_TELEMETRY": "1",
        # Its sockets are in there, and the path of a socket is at most 107 bytes long.
        "PYTRITON_HOME": str(folder / "p"),
    }


def _build_command(name: str, module: str, home: Path, folder: Path, port: int) -> list[str]:
    python = str(home / "bin" / "python")
    if name == "bentoml":
        where = ["--host", "127.0.0.1", "--port", str(port)]
        return [python, "-m", "bentoml", "serve", f"{module}:Service", *where]
    if name == "kserve":
        where = [f"--http_port={port}", f"--grpc_port={choose_port()}"]
        return [python, "-m", module, *where]
    if name == "mlserver":
        _write_mlserver_settings(module, folder, port)
        return [str(home / "bin" / "mlserver"), "start", str(folder)]
    return [python, "-m", module]


def _write_mlserver_settings(module: str, folder: Path, port: int) -> None:
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": choose_port(),
        "metrics_port": choose_port(),
        "debug": False,
    }
    if module.endswith(".same"):
        settings["parallel_workers"] = CORES
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "classifier", "implementation": f"{module}.ClassifierModel"}
    (folder / "model-settings.json").write_text(json.dumps(model))
