"""The tables and their reading: on the terminal, and in ``docs/benchmarks/gpu.md``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.gpu.goals import check_goals, count_cores, read_rate
from bench.gpu.reading import read_results
from bench.gpu.ways import WAYS
from bench.machine import build_heading
from bench.runtime.tables import build_goals, build_table, say_latencies, say_seconds

Numbers = Mapping[str, Any]

_HEADING: Final = """\
# Benchmark of the runtime on a GPU

Written by `make bench-gpu`; do not edit. The numbers are in [gpu.json](gpu.json).
What our model server serves over HTTP, beside what the same torch engine does with nothing around
it, in the same run on this machine:

{machine}

Load generators and server share the processors, so pictures, which are decoded by the CPU, say more
about the machine than about the server.

"""
_METHOD: Final = """
## How it is measured

- **Network**: {model}; random weights where trained ones cannot be had, which cost the same.
- **The engine alone**: the class, the sessions and the batches of the server in a loop, in its own
  process: images lie in the CPU's memory, scores come back to it. Every size of batch in one
  thread; then the smallest size within 3 % of the best that `maxBatch` may be, in several threads,
  each with a session and a stream of its own. Served is compared with the fastest of these.
- **The network alone**: that batch lies on the device already; no copy, no conversion, and a wait
  only after several passes.
- **Served**: a server process with its defaults, but for `maxBatch` (the size chosen above),
  `maxQueue` {max_queue} and `maxQueueBytes` {max_queue_bytes}; for each mode in the precision that
  was faster. Clients of a closed loop keep eight batches on their way, from {generators} load
  generators (`tests/bench/load.py`), each a process. Images that are answered in a second.
- **Requests**: JPEGs of ImageNet's usual sizes, alone to `/predict` or several in an Open
  Inference request; or the same images as FP32 tensors, decoded and preprocessed by the client.
  Answers to the latter three are probabilities as raw bytes.
- **Latencies**: at 50 % and 80 % of what that way served, in an open loop; a request's time counts
  from when it was *to be* sent. It is the time of a request, with all its images.
- **Cores at work**: processor time of the server a second. **Event loop**: the share of a second
  that its first thread computed. **Batch**: images of a forward pass, on average.
"""


def build_page(results: Numbers) -> str:
    """The whole page."""
    lines = [describe_device(results["device"]), *build_heading(results)]
    return (
        _HEADING.format(machine="\n".join(f"- {line}" for line in lines))
        + build_tables(results)
        + "\n## Reading\n\n"
        + "".join(f"- {line}\n" for line in read_results(results))
        + _METHOD.format(**results["plan"])
    )


def describe_device(device: Numbers) -> str:
    """Return the device and its software in a line."""
    if device["device"] == "cpu":
        return f"no GPU: a rehearsal on the CPU, torch {device['torch']}"
    return (
        f"{device['name']}, {device['memory_gib']} GiB, {device['multiprocessors']} "
        f"multiprocessors; driver {device['driver']}, torch {device['torch']}, CUDA "
        f"{device['cuda']}, cuDNN {device['cudnn']}"
    )


def build_tables(results: Numbers) -> str:
    """Every table of which there are numbers."""
    parts = [
        ("Goals", build_goals(check_goals(results))),
        ("The engine alone, images a second by size of batch", _build_sweep(results)),
        ("The engine alone, at its best size", _build_best(results)),
        *(
            (f"Served: {name}", _build_served(results, name, served))
            for name, served in results["served"].items()
        ),
    ]
    return "\n".join(f"## {title}\n\n{table}" for title, table in parts if table)


def _build_sweep(results: Numbers) -> str:
    measured = _find_measured(results)
    sizes = sorted({int(size) for it in measured.values() for size in it["rates"]})
    rows = [
        (
            name,
            *(_say_rate(_get(it["rates"], size)) for size in sizes),
            say_seconds(it["open_seconds"]),
        )
        for name, it in measured.items()
    ]
    return build_table(("", *map(str, sizes), "Until it is open"), rows)


def _build_best(results: Numbers) -> str:
    measured = _find_measured(results)
    threads = sorted({int(count) for it in measured.values() for count in it["threads"]})
    copies = list(dict.fromkeys(kind for it in measured.values() for kind in it["copies"]))
    header = (
        *(
            "",
            "Batch",
            *(f"{count} thread{'s' * (count > 1)}" for count in threads),
            "Network alone",
        ),
        *("Engine ÷ network", *(f"Copy of a batch: {kind}" for kind in copies), "Device memory"),
    )
    rows = [
        (
            name,
            str(it["batch"]),
            *(_say_rate(_get(it["threads"], count)) for count in threads),
            _say_rate(it["resident"]),
            f"{read_rate(it) / it['resident']:.2f}",
            *(say_seconds(it["copies"][kind]) if kind in it["copies"] else "" for kind in copies),
            f"{it['memory_mib']:.0f} MiB",
        )
        for name, it in measured.items()
    ]
    return build_table(header, rows)


def _build_served(results: Numbers, name: str, served: Numbers) -> str:
    raw = read_rate(results["raw"][name])
    header = (
        *("A request holds", "Images/s", "Served ÷ alone", "Batch", "CPU an image"),
        *("Cores at work", "Event loop", "p50, p99 at 50 %", "p50, p99 at 80 %", "Failed"),
    )
    rows = [
        _build_way(way.title, served["ways"][way.name], raw)
        for way in WAYS
        if way.name in served["ways"]
    ]
    return build_table(header, rows)


def _build_way(title: str, it: Numbers, raw: float) -> Sequence[str]:
    return (
        title,
        f"{it['rate']:.1f}",
        f"{it['rate'] / raw:.2f}",
        f"{it['mean_batch']:.1f}",
        say_seconds(it["cpu_seconds_each"]),
        f"{count_cores(it):.1f}",
        f"{it['loop_seconds_each'] * it['rate']:.0%}",
        *(say_latencies(load) for load in it["loads"].values()),
        str(it["failed"]),
    )


def _find_measured(results: Numbers) -> dict[str, Numbers]:
    return {name: it for name, it in results["raw"].items() if "threads" in it}


def _get(numbers: Numbers, key: int) -> float | None:
    """Return a number by its key, which JSON has made a text."""
    found: float | None = numbers.get(str(key), numbers.get(key))  # type: ignore[call-overload]
    return found


def _say_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}"
