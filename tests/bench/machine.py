"""What the numbers were measured on: without that they say little."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GIB = 1024**3
_ROOT = Path(__file__).parents[2]


def describe_machine(versions: Mapping[str, str]) -> dict[str, Any]:
    """Hardware and commit, beside the versions of what is measured."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page / _GIB),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": dict(versions),
        "commit": _read_commit(),
    }


def read_load() -> float:
    """How many programs wanted to run, in the last minute."""
    return round(os.getloadavg()[0], 1)


def _read_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _read_commit() -> str:
    if told := os.environ.get("IGW_COMMIT"):
        return told  # where the sources are a copy without their history
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def build_heading(results: Mapping[str, Any]) -> list[str]:
    """Return what a page says of the machine, in lines."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    size = f"{machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}"
    load = f"load average {results['load_before']} before and {results['load_after']} after"
    return [
        f"{machine['processor']}, {size}",
        f"Python {machine['python']}, {versions}; commit {machine['commit']}",
        f"{results['date']}, {load}; {_judge_load(results)}",
    ]


def _judge_load(results: Mapping[str, Any]) -> str:
    if results["load_before"] <= 1:
        return "the machine had nothing else to do"
    return "the machine was busy with other work before this run, and likely during it"
