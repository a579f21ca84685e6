"""All rounds: who is visited when, and the engine alone in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench.runtime.contestants import (
    OURS,
    PEERS,
    Contestant,
    build_documented,
    build_ours,
    build_peers,
    find_sources,
)
from bench.runtime.environments import InstallError, ensure_environment
from bench.runtime.ideal import simulate
from bench.runtime.packages import ensure_packages
from bench.runtime.peers.bounds import CORES
from bench.runtime.pictures import SIZES, draw_pictures
from bench.runtime.processes import PATIENCE_SECONDS, StartError, read_pss_mib, started
from bench.runtime.summary import summarise
from bench.runtime.visits import CLIENTS, SHARES, Numbers, Plan, measure_capacity, visit

PRECISION: Final = "bf16"
"""Of both tables: what OpenVINO takes by itself on processors that have it."""
_TORCH_ALONE: Final = Path(__file__).with_name("torch_alone.py")


@dataclass(slots=True, kw_only=True)
class Run:
    """What is to be measured, and what was, so far."""

    plan: Plan
    say: Callable[[str], None]
    only: Collection[str] = ()
    packages: Mapping[str, Path] = field(default_factory=dict)
    """The model package of each precision, from `install` on."""
    visits: dict[str, list[Numbers]] = field(default_factory=dict)
    raw: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    served: dict[str, list[float]] = field(default_factory=dict)
    reference: float | None = None

    def wants(self, name: str) -> bool:
        """Tell whether somebody, or something, is part of this run."""
        return not self.only or name in self.only


def install(run: Run) -> None:
    """Install what this run needs, before anything is measured."""
    run.packages = ensure_packages(run.say)
    for peer in PEERS:
        for torch in (False, True):
            if run.wants(f"{peer}-documented" if torch else peer):
                run.say(f"environment of {peer}{', with torch' if torch else ''}")
                with suppress(InstallError):  # who visits it is told again
                    ensure_environment(peer, torch=torch)


def measure_contestants(run: Run) -> Numbers:
    """Visit everybody, round after round, each round in another order."""
    pictures, package = draw_pictures(), run.packages[PRECISION]
    same = [build_ours(package, precision=PRECISION)]
    same += [it for it in build_peers(package, precision=PRECISION) if run.wants(it.name)]
    documented = [it for it in build_documented() if run.wants(it.name)]
    for number in range(run.plan.rounds):
        if run.wants("raw"):
            _measure_precisions(run, pictures, number)
        turn = number % len(same)
        everybody = [*same[turn:], *same[:turn]]
        everybody += documented if number < run.plan.documented_rounds else []
        for contestant in everybody:
            _visit(run, contestant, pictures, number)
    raw = {
        precision: {kind: median(it[kind] for it in found) for kind in found[0]}
        for precision, found in run.raw.items()
    }
    return {
        "precision": PRECISION,
        "sizes": [f"{width}x{height}" for width, height in SIZES],
        "clients": CLIENTS,
        "patience_seconds": PATIENCE_SECONDS,
        "contestants": {name: summarise(visits) for name, visits in run.visits.items()},
        "titles": {it.name: it.title for it in [*same, *documented]},
        "sends": {it.name: it.sends for it in [*same, *documented]},
        "raw": raw,
        "ideal": _find_ideal(raw.get(PRECISION), run.reference),
        "served": {precision: median(found) for precision, found in run.served.items()},
    }


def _find_ideal(raw: Mapping[str, float] | None, reference: float | None) -> Numbers:
    """Return what a server that costs nothing would do, at the loads that all servers get."""
    if raw is None or reference is None:
        return {}
    each = CORES / raw["whole"]
    return {
        "capacity": raw["whole"],
        "loads": {
            str(share): simulate(share * reference, seconds_each=each, cores=CORES)
            for share in SHARES
        },
    }


def _visit(run: Run, contestant: Contestant, pictures: Sequence[bytes], number: int) -> None:
    folder = run.plan.folder / f"{contestant.name}-{number}"
    found = visit(
        contestant, run.plan, folder, pictures, reference=run.reference, seed=1000 * number
    )
    if contestant.name == OURS and run.reference is None:
        if "error" in found:
            raise SystemExit(f"our own server did not run:\n{found['error']}")  # noqa: EM102, TRY003
        run.reference = found["capacity"]
    run.visits.setdefault(contestant.name, []).append(found)
    capacity = found.get("capacity", 0.0)
    run.say(f"round {number + 1}, {contestant.name}: {capacity:.1f} pictures/s")
    for line in found.get("error", "").splitlines()[-5:]:
        run.say(f"    {line}")


def _measure_precisions(run: Run, pictures: Sequence[bytes], number: int) -> None:
    """Measure the engine alone and our server around it, one after the other."""
    for precision, package in run.packages.items():
        raw = measure_raw(package, precision, run.plan.raw)
        ours = build_ours(package, precision=precision)
        folder = run.plan.folder / f"served-{precision}-{number}"
        try:
            with started(ours, folder, pictures) as server:
                served = measure_capacity(server, run.plan, seed=number)
        except StartError as error:
            run.say(f"{precision}: {error}")
            continue
        run.raw.setdefault(precision, []).append(raw)
        run.served.setdefault(precision, []).append(served)
        run.say(
            f"round {number + 1}, {precision}: engine {raw['infer']:.1f}, with decoding "
            f"{raw['whole']:.1f}, served {served:.1f} pictures/s"
        )


def measure_raw(package: Path, precision: str, seconds: float) -> Mapping[str, float]:
    """Run the engine alone, in a process of its own."""
    command = [sys.executable, "-m", "bench.runtime.raw", "--package", str(package)]
    done = subprocess.run(
        [*command, "--precision", precision, "--seconds", str(seconds)],
        env=os.environ | {"PYTHONPATH": find_sources()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: Mapping[str, float] = json.loads(done.stdout)
    return found


def measure_torch(run: Run) -> Numbers:
    """Time torch's own start, without a server, and weigh it."""
    try:
        home = ensure_environment("litserve", torch=True)
    except InstallError as error:
        return {"error": str(error)}
    found: Numbers = {}
    # A compilation takes half a minute: not in rehearsals.
    for mode in ("eager", "compile") if run.plan.rounds > 1 else ("eager",):
        began = time.monotonic()
        process = subprocess.Popen(
            [str(home / "bin" / "python"), str(_TORCH_ALONE), mode],
            env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(run.plan.folder / "inductor")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        if process.stdout.readline():
            seconds = time.monotonic() - began
            found[mode] = {"seconds": seconds, "memory_mib": read_pss_mib(process.pid)}
        _, errors = process.communicate("")
        if mode not in found:
            found[mode] = {"error": errors.strip().splitlines()[-1:]}
        run.say(f"torch {mode}: {found[mode]}")
    return found
