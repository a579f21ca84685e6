"""What the numbers were measured on: without that they say little."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from localnode.versions import load_versions

_GIB = 1024**3
_ROOT = Path(__file__).parents[3]


def describe_machine() -> dict[str, Any]:
    """Hardware, load and versions."""
    tools = load_versions().tools
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page / _GIB),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: tools[name].version for name in ("kubernetes", "etcd", "kwok")}
        | {name: version(name) for name in ("kopf", "aiohttp", "pydantic")},
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
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
