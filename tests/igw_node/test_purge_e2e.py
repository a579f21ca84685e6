"""The whole life of a node, and that nothing of it is left on the machine.

Deletes the node that may be running: it runs only where IGW_NODE_E2E is set.
"""

import os
import subprocess
from pathlib import Path

import pytest

from localnode.paths import NODE_FOLDER

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        "IGW_NODE_E2E" not in os.environ, reason="set IGW_NODE_E2E=1: it deletes the running node"
    ),
]


def _kind(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(NODE_FOLDER / "kind"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_purge_leaves_nothing_behind(tmp_path: Path) -> None:
    """Create, look, purge: no process, mount, link, rule, cgroup or folder stays."""
    assert _kind("purge").returncode == 0
    created = _kind("create", "cluster", "--name=probe", f"--kubeconfig={tmp_path / 'config'}")
    assert created.returncode == 0, created.stderr
    assert _kind("get", "clusters").stdout == "probe\n"
    assert _kind("get", "nodes", "--name=probe").stdout == "probe-control-plane\n"
    assert _kind("verify-clean").returncode == 1

    purged = _kind("purge")

    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert _kind("verify-clean").stdout == ""


def test_cluster_whose_programs_were_killed_is_replaced(tmp_path: Path) -> None:
    """What an interrupted run left is removed by the next one."""
    config = f"--kubeconfig={tmp_path / 'config'}"
    assert _kind("create", "cluster", "--name=probe", config).returncode == 0
    for record in Path("/var/lib/igw-node/cluster/pids").iterdir():
        os.kill(int(record.read_text().split()[0]), 9)

    again = _kind("create", "cluster", "--name=probe", config)

    assert again.returncode == 0, again.stderr
    assert "Removing what an earlier run left" in again.stderr
    assert _kind("purge").returncode == 0
