import math
from pathlib import Path

import pytest

from igw_runtime.serving.cpu import read_cpu_budget, read_throttling


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        pytest.param("150000 100000", (2, 1.5, True), id="a quota is rounded up"),
        pytest.param("50000 100000", (1, 0.5, True), id="less than a CPU is one thread"),
        pytest.param("max 100000", (4, 4.0, False), id="no quota leaves the affinity"),
        pytest.param("800000 100000", (4, 4.0, False), id="a wide quota changes nothing"),
        pytest.param("garbage", (4, 4.0, False), id="garbage is no quota"),
    ],
)
def test_cgroup_v2(tmp_path: Path, quota: str, expected: tuple[int, float, bool]) -> None:
    """Threads follow `cpu.max`."""
    (tmp_path / "cpu.max").write_text(quota)

    budget = read_cpu_budget(tmp_path, affinity=4)

    assert expected == (budget.threads, budget.quota_cores, budget.limited)


@pytest.mark.parametrize(("quota", "threads"), [(250_000, 3), (-1, 4)])
def test_cgroup_v1(tmp_path: Path, quota: int, threads: int) -> None:
    """Threads follow `cpu.cfs_quota_us`, where -1 means none."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.stat").write_text("throttled_time 1500000000\n")

    budget = read_cpu_budget(tmp_path, affinity=4)

    assert threads == budget.threads
    assert math.isclose(read_throttling(budget.stat_path), 1.5)


def test_without_cgroup_files_the_affinity_counts(tmp_path: Path) -> None:
    """On a bare machine nothing is missing."""
    budget = read_cpu_budget(tmp_path, affinity=3)

    assert (budget.threads, budget.limited) == (3, False)
    assert read_throttling(budget.stat_path) == 0.0
