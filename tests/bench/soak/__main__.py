"""``make soak``: one real server under good, bad and rude traffic; what does it lose over time?

make soak
make soak ARGUMENTS="--seconds 60"

It ends with an error if the server grew, kept something open, failed a good request, or hung.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.machine import describe_machine
from bench.sending import running
from bench.soak.page import FULL_SECONDS, build_page, build_table, judge
from bench.soak.readings import Reading, Watch, fit_slope
from bench.soak.rudeness import Rudeness
from bench.soak.traffic import SETTINGS, build_loads
from runtime_kit.colours import write_package
from runtime_kit.process import ServerProcess, a_server

_FOLDER: Final = Path(__file__).parents[3] / "docs" / "benchmarks"
_LIBRARIES: Final = ("openvino", "uvicorn", "numpy", "pillow")
MAX_SECONDS: Final = 1800
_SETTLE_SECONDS: Final = 12.0
"""After the traffic, until what was left half-way has run out of its time."""


def main() -> None:
    """Soak, print, and keep the numbers of a full run."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=FULL_SECONDS, help="at most half an hour")
    seconds = min(MAX_SECONDS, max(20, parser.parse_args().seconds))
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "4194304")  # as in the image
    results: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe_machine({name: version(name) for name in _LIBRARIES}),
        "seconds": seconds,
    }
    with tempfile.TemporaryDirectory(prefix="igw-soak-") as folder:
        results |= soak(Path(folder), seconds)
    print(build_table(results))
    if seconds >= FULL_SECONDS:
        _FOLDER.mkdir(parents=True, exist_ok=True)
        (_FOLDER / "soak.json").write_text(json.dumps(results, indent=2) + "\n")
        (_FOLDER / "soak.md").write_text(build_page(results))
        print("wrote docs/benchmarks/soak.md and soak.json")
    wrong = judge(results)
    if wrong:
        sys.exit("\n".join(wrong))


def soak(folder: Path, seconds: int) -> dict[str, Any]:
    """Return what became of the requests, and of the server."""
    write_package(folder / "models" / "colours")
    with a_server(folder, folder / "models", SETTINGS) as server:
        time.sleep(1)
        before = Reading.take(server.process.pid, server.url("/health"))
        with ExitStack() as stack:
            loads = {
                name: stack.enter_context(running(load))
                for name, load in build_loads(server.port, seconds).items()
            }
            rude = stack.enter_context(Rudeness(server.port))
            watch = stack.enter_context(Watch(server.process.pid, server.url("/health")))
            reports = {name: load.wait() for name, load in loads.items()}
        time.sleep(_SETTLE_SECONDS)
        after = Reading.take(server.process.pid, server.url("/health"))
        metrics = server.metrics()
        began = time.monotonic()
        code = server.stop()
        stop_seconds = time.monotonic() - began
        errors = count_errors(server)
    steady = [it for it in watch.readings if it.at >= watch.began + seconds / 5]
    return {
        "requests": {name: len(it.samples) for name, it in reports.items()},
        "statuses": {name: it.faults for name, it in reports.items()},
        "slowest_seconds": max(it.latency(100) for it in reports.values()),
        "rude": dict(rude.counts),
        "rss_mib": {"before": before.rss_mib, "most": max(it.rss_mib for it in watch.readings)}
        | {"after": after.rss_mib},
        "slope_mib_per_minute": fit_slope([(it.at / 60, it.rss_mib) for it in steady]),
        "files": {"before": before.files, "after": after.files}
        | {"most": max(it.files for it in watch.readings)},
        "threads": {"before": before.threads, "after": after.threads}
        | {"most": max(it.threads for it in watch.readings)},
        "probe_seconds": max(it.probe_seconds for it in watch.readings),
        "probes": len(watch.readings),
        "in_system": read_metric(metrics, "inference_queue_size"),
        "exit_code": code,
        "stop_seconds": stop_seconds,
        "errors_logged": errors,
    }


def read_metric(scrape: str, name: str) -> float:
    """Return a metric that has no labels."""
    [line] = [line for line in scrape.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def count_errors(server: ServerProcess) -> Mapping[str, int]:
    """Return how many lines of the log were errors, by event."""
    counts: dict[str, int] = {}
    with server.log_path.open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["level"] in {"ERROR", "CRITICAL"}:
                counts[event["message"]] = counts.get(event["message"], 0) + 1
    return counts


if __name__ == "__main__":
    main()
