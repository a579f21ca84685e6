"""What observability costs: processor time a request, with pillars and without, side by side.

All servers run at once and take turns, a few seconds each: whatever else the machine does, it does
to all of them. Twice: with the real model, which says what share it is; and with a model and a
picture that are next to nothing, where even a single pillar stands out from the noise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.runtime.contestants import ROOT, Contestant, Launch, choose_port, launch_ours
from bench.runtime.measures import PRECISION
from bench.runtime.pictures import draw_pictures, pack_raw
from bench.runtime.processes import Server, started
from bench.runtime.sampler import WRITE_SECONDS
from bench.runtime.visits import Plan
from bench.sending import send
from runtime_kit import colours

Numbers = dict[str, Any]
OFF: Final = "nothing"
EVERYTHING: Final = "everything, 100 % of traces"
DEFAULT: Final = "everything, 10 % of traces"
_ALL: Final = frozenset({"logs", "metrics", "traces"})
_RATE: Final = 100.0
_REAL_CLIENTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A server with some pillars."""

    name: str
    pillars: frozenset[str]
    sampling_percent: float = 10.0


VARIANTS: Final = (
    Variant(name=OFF, pillars=frozenset()),
    Variant(name="metrics", pillars=frozenset({"metrics"})),
    Variant(name="logs", pillars=frozenset({"logs"})),
    Variant(name="traces, 10 %", pillars=frozenset({"traces"})),
    Variant(name="traces, 100 %", pillars=frozenset({"traces"}), sampling_percent=100),
    Variant(name=DEFAULT, pillars=_ALL),
    Variant(name=EVERYTHING, pillars=_ALL, sampling_percent=100),
)
_REAL: Final = tuple(it for it in VARIANTS if it.name in {OFF, DEFAULT, EVERYTHING})


@dataclass(slots=True, kw_only=True)
class Spent:
    """Processor time and answers, turn by turn."""

    seconds: list[float] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def each(self) -> float:
        """Return the seconds of a request, over all turns."""
        return sum(self.seconds) / max(1, sum(self.answers))

    def turns(self) -> list[float]:
        """Return the seconds of a request in each turn."""
        return [s / max(1, n) for s, n in zip(self.seconds, self.answers, strict=True)]


def measure_overhead(plan: Plan, package: Path, say: Callable[[str], None]) -> Numbers:
    """Measure both models, the real one from its package, and where the time goes."""
    folder = plan.folder / "overhead"
    small = colours.write_package(folder / "models" / "colours")
    picture = colours.picture(kind="JPEG")
    found: Numbers = {}
    with _a_sink() as endpoint:
        shop = Workshop(folder=folder / "small", package=small, precision="fp32", endpoint=endpoint)
        found["small"] = _measure(plan, shop, [picture], VARIANTS)
        found["profile"] = _measure_profile(plan, shop, picture)
        say("observability, small model: done")
        shop = Workshop(
            folder=folder / "real", package=package, precision=PRECISION, endpoint=endpoint
        )
        found["real"] = _measure(plan, shop, draw_pictures(), _REAL)
        say("observability, real model: done")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Makes our server with some pillars, around one model."""

    folder: Path
    package: Path
    precision: str
    endpoint: str

    def build(self, variant: Variant, environment: Mapping[str, str] | None = None) -> Contestant:
        """Return our server with the pillars of a variant."""
        muted = ",".join(sorted(_ALL - variant.pillars))
        tracing = {
            "enabled": "traces" in variant.pillars,
            "samplingPercent": variant.sampling_percent,
        }
        changes = {"telemetry": {"otlpEndpoint": self.endpoint}, "live": {"tracing": tracing}}

        def prepare(folder: Path) -> Launch:
            return launch_ours(
                folder,
                self.package,
                precision=self.precision,
                changes=changes,
                module="bench.runtime.muted",
                environment={"BENCH_MUTED": muted, **(environment or {})},
            )

        return Contestant(
            name=variant.name, title=variant.name, pack=pack_raw, sends="", prepare=prepare
        )


def _measure(
    plan: Plan, shop: Workshop, pictures: Sequence[bytes], variants: Sequence[Variant]
) -> Numbers:
    with ExitStack() as stack:
        servers = {
            it.name: stack.enter_context(
                started(shop.build(it), shop.folder / str(number), pictures)
            )
            for number, it in enumerate(variants)
        }
        spent = _take_turns(servers, plan, real=len(pictures) > 1)
    return {name: describe(it, spent[OFF]) for name, it in spent.items()}


def _take_turns(servers: Mapping[str, Server], plan: Plan, *, real: bool) -> dict[str, Spent]:
    """Let each server work for a while, again and again, forwards and backwards."""
    spent = {name: Spent() for name in servers}
    for server in servers.values():
        send(server.plan(clients=2, seconds=plan.warm))
    for cycle in range(plan.overhead_cycles):
        order = list(servers) if cycle % 2 == 0 else list(servers)[::-1]
        for name in order:
            server = servers[name]
            before = read_cpu_seconds(server)
            load = (
                server.plan(clients=_REAL_CLIENTS, seconds=plan.overhead, seed=cycle)
                if real
                else server.plan(rate=_RATE, seconds=plan.overhead, seed=cycle)
            )
            report = send(load)
            spent[name].seconds.append(read_cpu_seconds(server) - before)
            spent[name].answers.append(len(report.answered))
    return spent


def describe(spent: Spent, off: Spent) -> Numbers:
    """Compare a server with the one that has no pillar, as a whole and turn by turn."""
    pairs = zip(spent.turns(), off.turns(), strict=True)
    ratios = sorted(here / there for here, there in pairs)
    return {
        "cpu_seconds_each": spent.each,
        "more_seconds_each": spent.each - off.each,
        "answers": sum(spent.answers),
        # Of turns beside each other: the median, and how far the middle half of them is apart.
        "ratio": median(ratios),
        "ratio_low": ratios[len(ratios) // 4],
        "ratio_high": ratios[-1 - len(ratios) // 4],
    }


def read_cpu_seconds(server: Server) -> float:
    """Return the processor time of a server that is one process, to the nanosecond."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/schedstat")
    return sum(int(it.read_text().split()[0]) for it in tasks) / 1e9


def _measure_profile(plan: Plan, shop: Workshop, picture: bytes) -> Numbers:
    """Sample a server with everything on, and return which function of ours had how many."""
    path = plan.folder / "profile.json"
    contestant = shop.build(VARIANTS[-1], {"BENCH_PROFILE": str(path)})
    with started(contestant, shop.folder / "profile", [picture]) as server:
        send(server.plan(clients=2, seconds=plan.warm))
        before = _read_counts(path)
        send(server.plan(clients=2, seconds=plan.capacity))
        counts = _read_counts(path) - before
    total = counts.total() or 1
    return {
        "samples": total,
        "shares": {name: count / total for name, count in counts.most_common(20)},
    }


def _read_counts(path: Path) -> Counter[str]:
    time.sleep(2 * WRITE_SECONDS)  # until what was counted is written, too
    return Counter(json.loads(path.read_text()))


@contextmanager
def _a_sink() -> Iterator[str]:
    """Take traces within the block; return where."""
    port = choose_port()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sink.py")), str(port)], cwd=ROOT
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
