"""The whole life of a node, and that nothing of it is left on the machine.

Runs in namespaces of its own (`isolated.sh`), so a node that runs on this
machine is not touched.
"""

import subprocess
from pathlib import Path

import pytest

from localnode.ensure import find_needs, plan_steps, select_steps
from localnode.paths import NODE_FOLDER
from localnode.versions import load_versions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ISOLATED = Path(__file__).with_name("isolated.sh")
PURGE = """
kind purge
kind verify-clean
test -z "$(iptables-save | grep -E 'KUBE|CNI|IGW')"
test -z "$(ip -o link | grep -v ' lo:' | grep -E 'igw0|veth')"
test ! -e /var/lib/cni -a ! -e /run/containerd
echo clean
"""


@pytest.fixture(autouse=True)
def _needs_a_built_node() -> None:
    versions = load_versions()
    core = select_steps(find_needs(versions), ["core"], versions.sets)
    steps = plan_steps(versions)
    missing = [step.name for step in steps if step.name in core and not step.is_done()]
    if missing:
        pytest.fail(f"not made: {', '.join(missing)}; run `make parts`", pytrace=False)


def _run_isolated(script: str, folder: Path) -> str:
    """Run a script beside, not on, the machine's own node; return what it printed."""
    head = f"set -eux; PATH={NODE_FOLDER}:$PATH; export KUBECONFIG={folder / 'config'}\n"
    command = [str(ISOLATED), "sh", "-c", head + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_purge_leaves_nothing_behind(tmp_path: Path) -> None:
    """Create, look, purge: no process, mount, link, rule, cgroup or folder stays."""
    script = "kind create cluster --name probe; kind get nodes --name probe; ! kind verify-clean"

    printed = _run_isolated(script + PURGE, tmp_path).splitlines()

    assert printed[0] == "probe-control-plane"
    assert any(line.startswith("process ") for line in printed)
    assert any(line.startswith("mount ") for line in printed)
    assert any("chain nat/KUBE-SERVICES" in line for line in printed)
    assert printed[-1] == "clean"


def test_cluster_whose_programs_were_killed_is_replaced(tmp_path: Path) -> None:
    """What an interrupted run left is removed by the next one."""
    script = """
kind create cluster --name probe
for record in /var/lib/igw-node/cluster/pids/*; do kill -9 "$(cut -d' ' -f1 "$record")"; done
kind create cluster --name probe
kind get clusters
"""
    printed = _run_isolated(script + PURGE, tmp_path).splitlines()

    assert printed == ["probe", "clean"]
