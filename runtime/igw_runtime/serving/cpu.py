"""How many CPUs this process may really use: the cgroup's quota, not the host's core count.

Thread pools sized by the host under a CFS quota are the commonest cause of slow inference in
containers (kserve#1031, onnxruntime#29510). Both cgroup versions are read, at start only.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuBudget:
    """What the process may use; `limited` says that a quota, not the affinity, decides."""

    threads: int
    quota_cores: float
    limited: bool
    stat_path: Path | None


def read_cpu_budget(root: Path = CGROUP_ROOT, affinity: int | None = None) -> CpuBudget:
    """Return min(affinity, quota rounded up), at least one thread."""
    cores = affinity or len(os.sched_getaffinity(0))
    quota = _read_quota_v2(root / "cpu.max")
    stat_path = root / "cpu.stat"
    if not (root / "cpu.max").exists():
        quota = _read_quota_v1(root / "cpu")
        stat_path = root / "cpu" / "cpu.stat"
    allowed = min(float(cores), quota)
    return CpuBudget(
        threads=max(1, math.ceil(allowed)),
        quota_cores=allowed,
        limited=quota < cores,
        stat_path=stat_path if stat_path.exists() else None,
    )


def read_throttling(stat_path: Path | None) -> float:
    """Return the seconds that the cgroup spent throttled, 0 where that is not told."""
    if stat_path is None:
        return 0.0
    try:
        pairs = dict(line.split(maxsplit=1) for line in stat_path.read_text().splitlines())
        if "throttled_usec" in pairs:
            return int(pairs["throttled_usec"]) / 1e6
        return int(pairs.get("throttled_time", "0")) / 1e9
    except (OSError, ValueError):
        return 0.0


def _read_quota_v2(path: Path) -> float:
    try:
        quota, period = path.read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _read_quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
