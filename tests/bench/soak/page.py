"""The table, for people: on the terminal, and in ``docs/benchmarks/soak.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.soak.readings import HANG_SECONDS

FULL_SECONDS: Final = 600
MOST_SLOPE: Final = 0.5
_MOST_FILES_LEFT: Final = 3
_MOST_THREADS_LEFT: Final = 3
_HEADING: Final = """\
# Soak of the runtime

Written by `make soak`; do not edit. The numbers are in [soak.json](soak.json).

One real server process on loopback, with the smallest model, {minutes:.0f} minutes of traffic
at given times whatever becomes of it: good pictures and tensors, damaged ones, bodies over the
limit, and clients that leave, stall, trickle or never read.

{machine}

"""
_NOTES: Final = """
The slope is that of resident memory by least squares, without the first fifth of the run, in which
the allocator and the pools of threads reach their size. Files, threads and memory "after" are read
when the last connection that was left half-way has run out of its time.
"""


def build_page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    machine = results["machine"]
    line = (
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"Python {machine['python']}; commit {machine['commit']}; {results['date']}"
    )
    heading = _HEADING.format(minutes=results["seconds"] / 60, machine=line)
    return heading + build_table(results) + _NOTES


def build_table(results: Mapping[str, Any]) -> str:
    """What was asked, what is wanted, what was found."""
    rows = [("", "Bound", "Found"), ("---",) * 3, *_rows(results), *_traffic_rows(results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def judge(results: Mapping[str, Any]) -> list[str]:
    """What is wrong, in sentences; nothing if nothing is."""
    statuses = results["statuses"]
    lost = {name: found for name, found in statuses.items() if name.startswith("good") and found}
    server_errors = {name: it for name in statuses if (it := _server_errors(statuses[name]))}
    stayed = {name: count for name, count in results["rude"].items() if "still there" in name}
    checks = (
        (not lost, f"good requests failed: {lost}"),
        (not server_errors, f"the server failed: {server_errors}"),
        (not stayed, f"connections were kept for ever: {stayed}"),
        (not results["errors_logged"], f"errors in the log: {results['errors_logged']}"),
        (results["probe_seconds"] < HANG_SECONDS, "a liveness probe had no answer"),
        # Of a short run the slope is that of the allocator finding its size.
        (
            results["seconds"] < FULL_SECONDS or results["slope_mib_per_minute"] <= MOST_SLOPE,
            "resident memory grew",
        ),
        (_left(results, "files") <= _MOST_FILES_LEFT, "files stayed open"),
        (_left(results, "threads") <= _MOST_THREADS_LEFT, "threads stayed"),
        (results["in_system"] == 0, "requests stayed in the queue"),
        (results["exit_code"] == 0, "the server did not end well"),
    )
    return [sentence for held, sentence in checks if not held]


def _left(results: Mapping[str, Any], name: str) -> int:
    return int(results[name]["after"] - results[name]["before"])


def _server_errors(faults: Mapping[str, int]) -> dict[str, int]:
    """Which answers were the server's fault; a damaged deadline may rightly be missed."""
    return {
        fault: count
        for fault, count in faults.items()
        if not (len(fault) == 3 and fault[0] == "4") and fault != "504"
    }


def _rows(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rss, files, threads = results["rss_mib"], results["files"], results["threads"]
    return [
        (
            "Growth of resident memory",
            f"≤ {MOST_SLOPE:g} MiB a minute",
            f"{results['slope_mib_per_minute']:+.2f} MiB a minute",
        ),
        (
            "Resident memory before, most, after",
            "",
            f"{rss['before']:.0f}, {rss['most']:.0f}, {rss['after']:.0f} MiB",
        ),
        (
            "Open files before, most, after",
            f"at most {_MOST_FILES_LEFT} left",
            f"{files['before']}, {files['most']}, {files['after']}",
        ),
        (
            "Threads before, most, after",
            f"at most {_MOST_THREADS_LEFT} left",
            f"{threads['before']}, {threads['most']}, {threads['after']}",
        ),
        (
            f"Slowest of {results['probes']} liveness probes",
            "an answer",
            f"{results['probe_seconds'] * 1000:.0f} ms",
        ),
        ("Slowest good answer", "", f"{results['slowest_seconds'] * 1000:.0f} ms"),
        ("Errors in the log", "0", str(sum(results["errors_logged"].values()))),
        ("Left in the queue", "0", f"{results['in_system']:g}"),
        (
            "Exit code after SIGTERM",
            "0",
            f"{results['exit_code']}, after {results['stop_seconds']:.1f} s",
        ),
    ]


def _traffic_rows(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    polite = [
        (
            f"{name}: {results['requests'][name]:,}",
            "all 200" if name.startswith("good") else "200, or 4xx",
            ", ".join(f"{fault}: {count:,}" for fault, count in sorted(faults.items()))
            or "all 200",
        )
        for name, faults in results["statuses"].items()
    ]
    rude = [(f"{name}: {count:,}", "", "") for name, count in sorted(results["rude"].items())]
    return [*polite, *rude]
