"""``make bench-slo``: a month of each scenario through Prometheus' own rules; prints a table.

It never fails by its numbers. ``make bench-slo ARGUMENTS=--quick`` plays two days of two
scenarios, ``ARGUMENTS="--only outage"`` one of them; neither keeps numbers.
``ARGUMENTS="--days 7"`` plays less of all, in a quarter of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.slo.contestants import OBJECTIVES, Contestant, build_contestants
from bench.slo.page import build_page, build_tables
from bench.slo.replay import replay, write_samples
from bench.slo.scenario import Scenario
from bench.slo.scenarios import build_scenarios
from bench.slo.scores import score
from bench.slo.scraping import scrape
from bench.slo.simulation import simulate
from bench.slo.truth import Totals
from localnode.ensure import ensure
from localnode.versions import load_versions

_ROOT: Final = Path(__file__).parents[3]
_FOLDER: Final = _ROOT / "docs" / "benchmarks"
# The window's 30 days and one more, in which its old end moves.
_DAYS: Final = 31
_QUICK_DAYS: Final = 2
_QUICK: Final = ("bursty", "outage")


def main() -> None:
    """Play, compare, print, and keep the numbers of a full run."""
    options = _parse()
    versions = load_versions()
    ensure(versions, only=["bench"])
    days = _QUICK_DAYS if options.quick else options.days
    scenarios = build_scenarios(days)
    names = options.only or (_QUICK if options.quick else tuple(scenarios))
    with tempfile.TemporaryDirectory(prefix="igw-bench-slo-") as folder:
        contestants = build_contestants(Path(folder))
        play = partial(_play, contestants, Path(folder), options.seed)
        with ThreadPoolExecutor(options.jobs) as pool:
            played = list(pool.map(play, [scenarios[name] for name in names]))
    results = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _read_commit(),
        "days": days,
        "seed": options.seed,
        "prometheus": versions.tools["prometheus"].version,
        "sloth": versions.tools["sloth"].version,
        "scenarios": dict(zip(names, played, strict=True)),
    }
    print(build_tables(results))
    if not options.quick and tuple(names) == tuple(scenarios):
        _FOLDER.mkdir(parents=True, exist_ok=True)
        (_FOLDER / "slo.json").write_text(json.dumps(results, indent=2) + "\n")
        (_FOLDER / "slo.md").write_text(build_page(results))
        print("wrote docs/benchmarks/slo.md and slo.json")


def _play(
    contestants: tuple[Contestant, ...], folder: Path, seed: int, scenario: Scenario
) -> dict[str, Any]:
    began = time.monotonic()
    history = simulate(scenario, seed)
    totals = {
        name: Totals.of(log, float(OBJECTIVES[name].target)) for name, log in history.logs.items()
    }
    own = folder / scenario.name
    own.mkdir()
    samples = own / "samples.txt"
    write_samples(list(scrape(scenario, history)), samples)
    found: dict[str, Any] = {"title": scenario.title}
    for contestant in contestants:
        said = replay(contestant, scenario, samples, own)
        found[contestant.name] = score(contestant, scenario, totals, said).describe()
    samples.unlink()
    print(f"{scenario.name}: {time.monotonic() - began:.0f} s", flush=True)
    return found


def _read_commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-slo", description=__doc__)
    names = tuple(build_scenarios(_QUICK_DAYS))
    parser.add_argument("--only", action="append", choices=names, help="one scenario of them")
    parser.add_argument("--days", type=int, default=_DAYS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="two days of two scenarios")
    return parser.parse_args()


if __name__ == "__main__":
    main()
