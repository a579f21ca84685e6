"""The engine alone in every configuration, then our server with the best of each mode."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from bench.gpu.ways import WAYS, Way, choose_clients, find_path, pack
from bench.load import Load, Report, percentile
from bench.runtime.contestants import OURS, Contestant, Launch, find_sources, launch_ours
from bench.runtime.peers.preparation import Preparation
from bench.runtime.pictures import Packed, draw_pictures, pack_raw
from bench.runtime.processes import Server, StartError, started
from bench.runtime.visits import SHARES
from bench.sending import send_split
from fleet.vitals import cpu_seconds
from igw_runtime.models.artifact import read_package
from igw_runtime.serving.cpu import read_cpu_budget
from runtime_kit.process import fetch

Numbers = dict[str, Any]
EAGER: Final = "eager"
COMPILE: Final = "torch.compile"
MODES: Final = (EAGER, COMPILE)
CORES: Final = read_cpu_budget().threads
GENERATORS: Final = max(1, min(4, CORES // 4))
MAX_QUEUE: Final = 1024
MAX_QUEUE_BYTES: Final = 1 << 30
_COMPILE_SECONDS: Final = 300.0


class MeasureError(Exception):
    """A part of the run ended; the message is the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and for how many seconds each part."""

    folder: Path
    device: str
    model: str
    precisions: Sequence[str]
    modes: Sequence[str]
    sizes: Sequence[int]
    workers: int
    raw: float
    warm: float
    capacity: float
    load: float
    say: Callable[[str], None]

    def environment(self) -> dict[str, str]:
        """Return what every process of the run is told."""
        told = {
            "PYTHONPATH": find_sources(),
            # What is compiled for the engine alone is there when the server compiles it.
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
        }
        return told | ({"CUDA_VISIBLE_DEVICES": ""} if self.device == "cpu" else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A precision and a mode."""

    precision: str
    mode: str

    @property
    def name(self) -> str:
        """Return the key in the results."""
        return f"{self.precision}, {self.mode}"


def export_package(plan: Plan) -> Path:
    """Make a package with weights for torch; random ones cost what trained ones do."""
    models = plan.folder / "models"
    _run(
        plan,
        ["igw_runtime", "export", "--model", plan.model, "--formats", "torch"],
        ["--allow-random-weights", "--output", str(models)],
    )
    return models / plan.model


def measure_raw(plan: Plan, package: Path, setup: Setup) -> Numbers:
    """Measure the engine alone, in a process of its own."""
    options = ["--seconds", str(plan.raw), "--sizes", ",".join(map(str, plan.sizes))]
    options += ["--threads", str(plan.workers or CORES), "--precision", setup.precision]
    options += ["--compile"] if setup.mode == COMPILE else []
    output = _run(plan, ["bench.gpu.raw", "--package", str(package)], options)
    found: Numbers = json.loads(output.splitlines()[-1])
    return found


def measure_served(plan: Plan, package: Path, setup: Setup, batch: int) -> Numbers:
    """Measure our server with a configuration, in every way."""
    pictures = draw_pictures()
    preparation = Preparation(read_package(package).manifest.preprocessing)
    contestant = build_server(plan, package, setup, batch)
    folder = plan.folder / f"served-{setup.precision}-{setup.mode}"
    found: Numbers = {"batch": batch, "ways": {}}
    try:
        with started(contestant, folder, pictures, within_seconds=_COMPILE_SECONDS) as server:
            found["ready_seconds"] = server.ready_seconds
            for way in WAYS:
                bodies = pack(way, pictures, preparation)
                it = turn_to(server, way, package.name, bodies)
                found["ways"][way.name] = _measure_way(plan, it, way, batch)
                rate = found["ways"][way.name]["rate"]
                plan.say(f"{setup.name}, {way.title} a request: {rate:.1f} images/s served")
            found["memory_mib"] = server.memory_mib()
    except StartError as error:
        found["error"] = str(error)
        plan.say(f"{setup.name}: {error}")
    return found


def build_server(plan: Plan, package: Path, setup: Setup, batch: int) -> Contestant:
    """Return our runtime with its defaults, but for the batch and room for what is on its way."""
    changes = {
        "model": {
            "name": package.name,
            "precision": setup.precision,
            "engine": "torch",
            "torchCompile": setup.mode == COMPILE,
        },
        "serving": {
            "drainSeconds": 1,
            "maxBatch": batch,
            "maxQueue": MAX_QUEUE,
            "maxQueueBytes": MAX_QUEUE_BYTES,
            "workers": plan.workers,
        },
    }

    def prepare(folder: Path) -> Launch:
        return launch_ours(
            folder,
            package,
            precision=setup.precision,
            changes=changes,
            environment=plan.environment(),
        )

    return Contestant(name=OURS, title="InferenceGateway", pack=pack_raw, sends="", prepare=prepare)


def turn_to(server: Server, way: Way, model: str, bodies: Sequence[Packed]) -> Server:
    """Return the same server, to which requests of another way are sent."""
    return replace(
        server,
        launch=replace(server.launch, path=find_path(way, model)),
        bodies=[it.body for it in bodies],
        headers=dict(bodies[0].headers),
    )


def _measure_way(plan: Plan, server: Server, way: Way, batch: int) -> Numbers:
    """Find out what is served at most, what that costs, and latencies below it."""
    clients = choose_clients(way, batch)
    _send(server.plan(clients=clients, seconds=plan.warm))
    before = _read_usage(server)
    report = _send(server.plan(clients=clients, seconds=plan.capacity, seed=1))
    after = _read_usage(server)
    spent = {name: after[name] - before[name] for name in before}
    answered = max(1, len(report.answered) * way.images)
    rate = report.throughput(after=plan.capacity / 10) * way.images
    found: Numbers = {
        "images": way.images,
        "clients": clients,
        "rate": rate,
        "failed": len(report.failed),
        "faults": report.faults,
        "cpu_seconds_each": spent["cpu_seconds"] / answered,
        "loop_seconds_each": spent["loop_seconds"] / answered,
        "mean_batch": spent["images"] / max(1, spent["passes"]),
        "generator_cpu_share": report.cpu_seconds / report.seconds,
        "generator_cores": GENERATORS * report.cpu_seconds / report.seconds,
        "loads": {},
    }
    for share in SHARES if rate else ():
        load = server.plan(rate=share * rate / way.images, seconds=plan.load, seed=2)
        found["loads"][str(share)] = describe_load(_send(load))
    return found


def describe_load(report: Report) -> Numbers:
    """Return the latencies of a load; a request that failed never ended."""
    latencies = [it.seconds for it in report.answered] + [math.inf] * len(report.failed)
    return {
        "requests": len(latencies),
        "failed": len(report.failed),
        "faults": report.faults,
        "p50": percentile(latencies, 50),
        "p99": percentile(latencies, 99),
        "generator_lag_seconds": report.lag_seconds,
    }


def _send(load: Load) -> Report:
    return send_split(load, GENERATORS)


def _read_usage(server: Server) -> dict[str, float]:
    """Return what the server has used and done so far; its first thread is the event loop."""
    pid = server.process.pid
    _, text = fetch(f"http://127.0.0.1:{server.launch.port}/metrics")
    return {
        "cpu_seconds": server.cpu_seconds(),
        "loop_seconds": cpu_seconds(pid, thread=pid),
        **count_passes(text.decode()),
    }


def count_passes(metrics: str) -> dict[str, float]:
    """Return how many forward passes there were, and of how many images together."""
    sizes = {
        int(sample.labels["size"]): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "igw_runtime_batch_inference_seconds_count"
    }
    return {
        "passes": sum(sizes.values()),
        "images": sum(size * count for size, count in sizes.items()),
    }


def ask_device(plan: Plan) -> Numbers:
    """Return what torch says of the device, or what is missing, from a process of its own."""
    found: Numbers = json.loads(_run(plan, ["bench.gpu.device", plan.device], []).splitlines()[-1])
    return found


def _run(plan: Plan, module: Sequence[str], options: Sequence[str]) -> str:
    """Run a module of ours in this Python; its standard output is returned."""
    done = subprocess.run(
        [sys.executable, "-m", *module, *options],
        env=os.environ | plan.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-15:]
        message = "\n".join([f"{module[0]} ended with {done.returncode}", *lines])
        raise MeasureError(message)
    return done.stdout
