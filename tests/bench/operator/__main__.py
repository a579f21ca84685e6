"""``make bench-operator``: measures the operator and prints a table; never fails by its numbers.

make bench-operator
make bench-operator ARGUMENTS="--gateways 1000 --idle-seconds 60"
make bench-operator ARGUMENTS=--quick
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from bench.operator.measures import Plan, measure_all
from bench.operator.page import build_page, build_table
from localnode.versions import load_versions

_FOLDER = Path(__file__).parents[3] / "docs" / "benchmarks"


def main() -> None:
    """Measure, print, and keep the numbers unless told otherwise."""
    options = _parse()
    with tempfile.TemporaryDirectory(prefix="igw-bench-") as folder:
        plan = Plan(
            gateways=100 if options.quick else options.gateways,
            compared=20 if options.quick else options.compared,
            idle_seconds=30.0 if options.quick else options.idle_seconds,
            edits=20 if options.quick else options.edits,
            folder=Path(folder),
        )
        results: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": describe_machine(_read_versions()),
        }
        results |= asyncio.run(measure_all(plan, print))
    print(build_table(results))
    if not options.quick:
        _FOLDER.mkdir(parents=True, exist_ok=True)
        (_FOLDER / "operator.json").write_text(json.dumps(results, indent=2) + "\n")
        (_FOLDER / "operator.md").write_text(build_page(results))
        print("wrote docs/benchmarks/operator.md and operator.json")


def _read_versions() -> dict[str, str]:
    tools = load_versions().tools
    ours = {name: tools[name].version for name in ("kubernetes", "etcd", "kwok")}
    return ours | {name: version(name) for name in ("kopf", "aiohttp", "pydantic")}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-operator", description=__doc__)
    parser.add_argument("--gateways", type=int, default=5000, help="of the large fleet")
    parser.add_argument("--compared", type=int, default=100, help="of each small fleet")
    parser.add_argument("--idle-seconds", type=float, default=600.0)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="a rehearsal; keeps no numbers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
