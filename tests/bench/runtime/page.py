"""The tables and their reading: on the terminal, and in ``docs/benchmarks/runtime.md``. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bench.machine import build_heading
from bench.runtime.goals import DOCUMENTED, OURS, check_goals
from bench.runtime.reading import read_results
from bench.runtime.tables import build_goals, build_table, say_latencies, say_seconds

Numbers = Mapping[str, Any]

_HEADING: Final = """\
# Benchmark of the runtime

Written by `make bench-runtime`; do not edit. The numbers are in [runtime.json](runtime.json).
Our model server and five others, each as a process of its own, one at a time, on this machine:

{machine}

Load generator and server share the processors, so absolute numbers say more about the machine than
about a server: compare within one run.

"""
_METHOD: Final = """
## How it is measured

- **Pictures**: four JPEGs of ImageNet's usual sizes ({sizes}), quality 90, drawn from a seed; the
  network is a ResNet-50 with random weights, which costs what a trained one does. Everybody gets
  the same pictures, each packed as the server's protocol has it: {sends}.
- **Load**: `tests/bench/load.py`, in a process of its own. Latencies are those of an open loop:
  arrivals are a Poisson process of a seed, and a request's time counts from when it was *to be*
  sent (no coordinated omission). Connections are kept. A request without a 200 after
  {patience:.0f} s counts as one that never ended. The generator is not bound to a processor, as
  on two there is none to spare: it took at most {cpu:.1%} of one, and was at most {lag:.1f} ms
  late (p99).
- **Capacity**: answers a second while {clients} clients always wait for one; the median of {rounds}
  rounds, in which servers take turns in changing order ({documented_rounds} of the second table).
  Latencies of all rounds are pooled.
- **Load of 50 % and 80 %**: of *our* capacity in the first table's set-up, for everybody.
- **Goodput when overloaded**: twice the server's own capacity arrives; good is an answer within one
  second, counted once queues had time to fill (the last two thirds). Clients' deadline is told to
  whoever can be told: our server by a header, LitServe and BentoML by their `timeout`, BentoML
  also by `max_concurrency` 64, Triton by its queue policy.
- **Failed on SIGTERM**: requests go on, at half of the server's own capacity, for one second after
  the signal, as they do in a cluster until every load balancer has heard of it; a fifth of them
  on new connections. Failed are those without a 200. Our drain was set to 2 s; a `preStop` sleep
  in a pod helps the others as it helps us.
- **Ready**: from the start of the process to its first classified picture. **Memory**: of all the
  server's processes after that load, shared pages counted once (PSS). **CPU**: processor time of
  all its processes for each answer, at 50 %.
- **First table**: `tests/bench/runtime/peers/*/same.py`. Our engine class, decoder and
  preprocessing are imported by each of them; they differ in what is around it. One worker
  (process, thread or instance) a core, as each one's documentation advises.
- **A server that costs nothing**: its capacity is the engine's with decoding, measured without a
  server; its latencies are those of a queue before the cores (Poisson arrivals, every picture
  takes as long: M/D/c), simulated at the same load. Nobody can be below its p99 by much.
- **Second table**: `tests/bench/runtime/peers/*/documented.py`, with default settings: the way a
  reader of that documentation would put torchvision's ResNet-50 into it. PyPI's torch has CUDA's
  libraries in it, which costs memory.
"""


def build_page(results: Numbers) -> str:
    """The whole page."""
    machine = "\n".join(f"- {line}" for line in build_heading(results))
    return (
        _HEADING.format(machine=machine)
        + build_tables(results)
        + "\n## Reading\n\n"
        + "".join(f"- {line}\n" for line in read_results(results))
        + _build_method(results)
    )


def build_tables(results: Numbers) -> str:
    """Every table of which there are numbers."""
    parts = [
        ("Goals", build_goals(check_goals(results))),
        ("The same engine in every server", _build_servers(results, documented=False)),
        ("Every server as its documentation shows it", _build_servers(results, documented=True)),
        ("The engine alone", _build_engine(results)),
        ("What observability costs", _build_overhead(results)),
        ("Where our own time goes", _build_profile(results)),
    ]
    return "\n".join(f"## {title}\n\n{table}" for title, table in parts if table)


def _build_servers(results: Numbers, *, documented: bool) -> str:
    contestants = results["contestants"]
    names = [it for it in contestants if it == OURS or it.endswith(DOCUMENTED) == documented]
    if names == [OURS] and documented:
        return ""
    header = (
        *("Server", "Capacity, pictures/s", "p50, p99 at 50 %", "p50, p99 at 80 %"),
        *("Goodput at twice that", "Failed on SIGTERM", "Ready", "Memory", "CPU a picture"),
    )
    best = contestants.get(OURS, {}).get("capacity")
    rows = [
        _build_server(results["titles"][name], contestants[name], best)
        for name in sorted(names, key=lambda it: (it != OURS, it))
    ]
    if not documented:
        rows += _build_ideal(results["ideal"], best)
    notes = "".join(_build_failures(results, names))
    return build_table(header, rows) + notes


def _build_ideal(ideal: Numbers, best: float | None) -> list[tuple[str, ...]]:
    if not ideal or not best:
        return []
    capacity = f"{ideal['capacity']:.1f} ({ideal['capacity'] / best:.2f})"
    loads = (
        f"{say_seconds(it['p50'])}, {say_seconds(it['p99'])}" for it in ideal["loads"].values()
    )
    return [("*A server that costs nothing, computed*", capacity, *loads, *[""] * 5)]


def _build_server(title: str, it: Numbers, best: float | None) -> tuple[str, ...]:
    if "capacity" not in it:
        return (title, "did not run", *[""] * 7)
    share = f" ({it['capacity'] / best:.2f})" if best else ""
    end = it["end"]
    exited = "" if math.isfinite(end["exit_seconds"]) else ", and did not exit in 15 s"
    return (
        title,
        f"{it['capacity']:.1f}{share}",
        say_latencies(it["loads"]["0.5"]),
        say_latencies(it["loads"]["0.8"]),
        f"{it['overload']['goodput']:.1f}/s ({it['overload']['goodput_ratio']:.2f})",
        f"{end['failed']} of {end['sent']}{exited}",
        f"{it['ready_seconds']:.1f} s",
        f"{it['memory_mib']:.0f} MiB",
        say_seconds(it["loads"]["0.5"]["cpu_seconds_each"]),
    )


def _build_failures(results: Numbers, names: Iterable[str]) -> Iterable[str]:
    """What a server that did not run said last."""
    for name in names:
        errors = results["contestants"][name]["errors"]
        if errors:
            title = results["titles"][name]
            yield f"\n{title}, {len(errors)} of {results['contestants'][name]['visits']} rounds:\n"
            yield f"\n```text\n{errors[0]}\n```\n"


def _build_engine(results: Numbers) -> str:
    header = (
        *("Precision", "Engine alone, pictures/s", "With decoding", "Served by us"),
        *("Served ÷ alone", "Served ÷ with decoding"),
    )
    rows = [
        (
            precision,
            f"{raw['infer']:.1f}",
            f"{raw['whole']:.1f}",
            f"{results['served'][precision]:.1f}",
            f"{results['served'][precision] / raw['infer']:.2f}",
            f"{results['served'][precision] / raw['whole']:.2f}",
        )
        for precision, raw in results["raw"].items()
    ]
    if rows and "int8" not in results["raw"]:
        rows.append(("int8", "no package", "", "", "", ""))
    return build_table(header, rows)


def _build_overhead(results: Numbers) -> str:
    found = results.get("overhead")
    if not found:
        return ""
    header = (
        *("With", "More processor time a request", "Share of a picture's", "Side by side"),
        "Middle half of the turns",
    )
    whole = found["real"]["nothing"]["cpu_seconds_each"]
    rows = []
    for name, it in found["small"].items():
        real = found["real"].get(name)
        rows.append(
            (
                name,
                f"{it['more_seconds_each'] * 1e6:+.0f} µs",
                f"{it['more_seconds_each'] / whole:+.2%}",
                f"{real['ratio'] - 1:+.2%}" if real else "",
                f"{real['ratio_low'] - 1:+.2%} to {real['ratio_high'] - 1:+.2%}" if real else "",
            )
        )
    least = say_seconds(found["small"]["nothing"]["cpu_seconds_each"])
    note = (
        f"\nThe second column is measured with a model and a picture that take next to nothing "
        f"({least} a request with nothing), so that single pillars stand out; the third is its "
        f"share of the {say_seconds(whole)} that a picture takes in {results['precision']}. "
        "The fourth is measured with the real model itself, against nothing, in turns beside each "
        "other.\n"
    )
    return build_table(header, rows) + note


def _build_profile(results: Numbers) -> str:
    profile = results.get("overhead", {}).get("profile")
    if not profile:
        return ""
    shares = list(profile["shares"].items())[:12]
    rows = [(f"`{name}`", f"{share:.0%}") for name, share in shares]
    note = (
        "\nSamples of what threads were doing, everything on, small model; waiting and the forward "
        "pass are left out. A sample belongs to the innermost function of ours. The interpreter is "
        "looked at where it lets go, so system calls seem to weigh more than they do.\n"
    )
    return build_table(("Function", "Share"), rows) + note


def _build_method(results: Numbers) -> str:
    loads = [
        load
        for it in results["contestants"].values()
        if "capacity" in it
        for load in it["loads"].values()
    ]
    titles, sends = results["titles"], results["sends"]
    ways = [f"{titles[it]} {sends[it]}" for it in sends if not it.endswith(DOCUMENTED)]
    return _METHOD.format(
        sizes=", ".join(results["sizes"]),
        sends="; ".join(ways),
        patience=results["patience_seconds"],
        cpu=max(it["generator_cpu_share"] for it in loads),
        lag=max(it["generator_lag_seconds"] for it in loads) * 1000,
        clients=results["clients"],
        **{key: results["plan"][key] for key in ("rounds", "documented_rounds")},
    )
