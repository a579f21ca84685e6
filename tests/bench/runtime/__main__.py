"""``make bench-runtime``: measures the runtime beside its peers; never fails by its numbers.

make bench-runtime
make bench-runtime ARGUMENTS=--quick
make bench-runtime ARGUMENTS="--quick --only raw,litserve,kserve-documented,overhead"

Needs nothing else to run on the machine. The first run installs the peers (12 GB with torch).
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.machine import describe_machine, read_load
from bench.runtime.environments import find_versions
from bench.runtime.keeping import FOLDER, keep_results
from bench.runtime.measures import PRECISION, Run, install, measure_contestants, measure_torch
from bench.runtime.overhead import measure_overhead
from bench.runtime.page import build_page, build_tables
from bench.runtime.visits import FULL, QUICK, Plan

_LIBRARIES: Final = ("openvino", "uvicorn", "numpy", "pillow", "opentelemetry-sdk")


def main() -> None:
    """Measure, print, and keep the numbers unless told otherwise."""
    options = _parse()
    # Else the servers would outlive a run that is ended early.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began, lengths = time.monotonic(), QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="igw-serve-") as folder:
        plan = Plan(folder=Path(folder), **lengths)  # type: ignore[arg-type]
        run = Run(plan=plan, say=_say, only=frozenset(filter(None, options.only.split(","))))
        install(run)
        results: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": describe_machine(_read_versions()),
            "plan": dict(lengths),
            "load_before": read_load(),
        }
        results |= measure_contestants(run)
        if run.wants("torch"):
            results["torch"] = measure_torch(run)
        if run.wants("overhead"):
            results["overhead"] = measure_overhead(plan, run.packages[PRECISION], _say)
        results["load_after"] = read_load()
        results["minutes"] = (time.monotonic() - began) / 60
    print(build_tables(results))
    if not options.quick and not options.only:
        keep_results(FOLDER, "runtime", results, build_page(results))
        print("wrote docs/benchmarks/runtime.md and runtime.json")


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def _read_versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES} | find_versions()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-runtime", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rehearsal; keeps no numbers")
    parser.add_argument(
        "--only", default="", help="ours and these: peers, PEER-documented, raw, torch, overhead"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
