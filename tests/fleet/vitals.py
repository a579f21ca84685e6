"""What a process costs, as the kernel counts it (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
_MIB: Final = 1024 * 1024


def resident_mib(pid: int, *, peak: bool = False) -> float:
    """Memory that is in use now, or was at most, in MiB."""
    name = "VmHWM" if peak else "VmRSS"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * _KIB / _MIB
    message = f"process {pid} has ended"
    raise ProcessLookupError(message)


def cpu_seconds(pid: int, thread: int | None = None) -> float:
    """Processor time since the process, or one thread of it, began, in user and kernel mode."""
    of = pid if thread is None else f"{pid}/task/{thread}"
    fields = Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
