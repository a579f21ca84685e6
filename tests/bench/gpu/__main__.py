"""``make bench-gpu``: what is served of what the engine does on a GPU; never fails by its numbers.

make bench-gpu
make bench-gpu ARGUMENTS="--modes eager --output /tmp/results"
make bench-gpu ARGUMENTS="--device cpu --quick"     (a rehearsal, which keeps no numbers)

Needs a GPU and nothing else to run on the machine. Without a GPU it says what is missing and ends
with 2. Results are written after each part, so that a run that is cut short leaves what it has.
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

from bench.gpu.device import find_lack_of_driver
from bench.gpu.goals import find_best, read_rate
from bench.gpu.measures import (
    CORES,
    EAGER,
    GENERATORS,
    MAX_QUEUE,
    MAX_QUEUE_BYTES,
    MODES,
    MeasureError,
    Plan,
    Setup,
    ask_device,
    export_package,
    measure_raw,
    measure_served,
)
from bench.gpu.page import build_page, build_tables
from bench.gpu.reading import read_results
from bench.machine import describe_machine, read_load
from bench.runtime.keeping import FOLDER, keep_results

_MISSING: Final = 2
_LIBRARIES: Final = ("torchvision", "uvicorn", "numpy", "pillow")
_PRECISIONS: Final = {"cuda": "fp16,bf16", "cpu": "fp32"}
_FULL: Final = {"raw": 0.6, "warm": 1.5, "capacity": 5.0, "load": 4.0}
_QUICK: Final = {"raw": 0.3, "warm": 1.0, "capacity": 2.0, "load": 1.5}
# More than the runtime allows (64), to see what its limit costs.
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_FEW_SIZES: Final = (1, 2, 4)


def main() -> None:
    """Measure, print, and keep the numbers if they are of a GPU."""
    options = _parse()
    if options.device == "cuda":
        _refuse(find_lack_of_driver())
    if options.look:
        return
    # Else the servers would outlive a run that is ended early.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="igw-gpu-") as folder:
        plan = _build_plan(options, Path(folder))
        device = ask_device(plan)
        _refuse(device.get("missing", ""))
        results = _begin(plan, device)
        try:
            measure(plan, results, options.output if _is_kept(options) else None)
        except MeasureError as error:
            sys.exit(f"bench-gpu: {error}")
    print(build_tables(results) + "\n## Reading\n")
    print("\n".join(f"- {line}" for line in read_results(results)))
    if _is_kept(options):
        print(f"wrote {options.output / 'gpu.md'} and gpu.json")


def measure(plan: Plan, results: dict[str, Any], output: Path | None) -> None:
    """Measure everything, in the order of what is known soonest, and keep it after each part."""
    began = time.monotonic()

    def keep(*, complete: bool = False) -> None:
        ended = {"minutes": (time.monotonic() - began) / 60, "load_after": read_load()}
        results.update(ended, complete=complete)
        if output is not None:
            keep_results(output, "gpu", results, build_page(results))

    plan.say(f"export of {plan.model}")
    package = export_package(plan)
    for mode in plan.modes:
        for precision in plan.precisions:
            setup = Setup(precision=precision, mode=mode)
            try:
                found = results["raw"][setup.name] = measure_raw(plan, package, setup)
                plan.say(f"{setup.name}, alone: {read_rate(found):.0f} images/s")
            except MeasureError as error:
                results["raw"][setup.name] = {"error": str(error)}
                plan.say(f"{setup.name}, alone: {error}")
            keep()
        best = find_best(results["raw"], mode)
        if best:
            setup = Setup(precision=best.partition(",")[0], mode=mode)
            batch = results["raw"][best]["batch"]
            results["served"][best] = measure_served(plan, package, setup, batch)
            keep()
    keep(complete=True)


def _begin(plan: Plan, device: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe_machine({name: version(name) for name in _LIBRARIES}),
        "device": device,
        "plan": {
            "model": plan.model,
            "workers": plan.workers or CORES,
            "cores": CORES,
            "generators": GENERATORS,
            "max_queue": MAX_QUEUE,
            "max_queue_bytes": MAX_QUEUE_BYTES,
        },
        "load_before": read_load(),
        "raw": {},
        "served": {},
    }


def _build_plan(options: argparse.Namespace, folder: Path) -> Plan:
    precisions = options.precisions or _PRECISIONS[options.device]
    return Plan(
        folder=folder,
        device=options.device,
        model=options.model or ("resnet18" if options.quick else "resnet50"),
        precisions=precisions.split(","),
        modes=[it for it in MODES if it in _find_modes(options)],
        sizes=_FEW_SIZES if options.quick else _SIZES,
        workers=options.workers,
        say=_say,
        **(_QUICK if options.quick else _FULL),
    )


def _find_modes(options: argparse.Namespace) -> list[str]:
    asked: list[str] = options.modes.split(",") if options.modes else []
    return asked or ([EAGER] if options.quick else list(MODES))


def _is_kept(options: argparse.Namespace) -> bool:
    """Tell whether the page may be written: a rehearsal's numbers are nobody's."""
    return options.device == "cuda" and not options.quick


def _refuse(missing: str) -> None:
    if missing:
        rehearsal = 'a rehearsal needs none: ARGUMENTS="--device cpu --quick"'
        print(f"bench-gpu: missing on this machine: {missing}; {rehearsal}", file=sys.stderr)
        sys.exit(_MISSING)


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-gpu", description=__doc__)
    add = parser.add_argument
    add("--device", choices=tuple(_PRECISIONS), default="cuda")
    add("--quick", action="store_true", help="a rehearsal with a small network; keeps no numbers")
    add("--model", default="", help="a name of torchvision's; default: resnet50")
    add("--modes", default="", help=f"of {','.join(MODES)}; default: both, quick: eager")
    add("--precisions", default="", help="default: fp16,bf16; on a CPU fp32")
    add("--workers", type=int, default=0, help="of the server; default: one for each core")
    add("--output", type=Path, default=FOLDER, help="folder for gpu.md and gpu.json")
    add("--look", action="store_true", help="only tell whether there is a driver")
    return parser.parse_args()


if __name__ == "__main__":
    main()
