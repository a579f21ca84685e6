"""Whoever waits for a gateway, by kubectl or by kstatus, waits for the spec of the last edit."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from integration.cluster import wait_for
from integration.conftest import Place
from integration.operator_process import OperatorProcess
from kstatus import KStatus, kstatus
from localnode.controlplane import ControlPlane
from localnode.toolchain import tool_folder
from localnode.versions import load_versions

QUIET: Final[dict[str, Any]] = {
    "replicas": 0,
    "observability": {"collector": {"mode": "Disabled"}},
}
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The real one, as an administrator."""
    binary = tool_folder(load_versions().tools["kubernetes"]) / "bin" / "kubectl"
    config: Path = plane.kubeconfig(tmp_path_factory.mktemp("kubectl") / "kubeconfig")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(binary), f"--kubeconfig={config}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


def wait(
    kubectl: Kubectl, place: Place, timeout: str, name: str = "photos"
) -> subprocess.CompletedProcess[str]:
    """What every pipeline does after `kubectl apply`."""
    return kubectl(
        "wait", "--for=condition=Ready", f"igw/{name}", "-n", place.namespace,
        f"--timeout={timeout}", "-o", "json",
    )  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.pain(2)
def test_waiting_right_after_an_edit_never_passes_on_the_old_generation(
    place: Place, kubectl: Kubectl
) -> None:
    """A hundred edits, each waited for at once: when it passes, the world has the edit."""
    place.make(**QUIET)
    for number in range(1, 101):
        edited = place.apply(**QUIET, serving={"maxQueue": number})
        done = wait(kubectl, place, "30s")
        assert done.returncode == 0, done.stderr
        config = place.must_get("ConfigMap", "photos-config")["data"]["runtime.json"]
        assert re.search(rf'"maxQueue": ?{number}\b', config), config
        seen = json.loads(done.stdout)
        generation = edited["metadata"]["generation"]
        assert seen["metadata"]["generation"] == generation == number + 1
        assert seen["status"]["observedGeneration"] == generation
        assert kstatus(seen) is KStatus.CURRENT


@pytest.mark.pain(2)
def test_waiting_right_after_an_edit_that_cannot_be_done_never_passes(
    place: Place, kubectl: Kubectl
) -> None:
    """It was Ready a moment ago, and its status says so still when the wait begins."""
    for number in range(10):
        place.make(**QUIET)
        place.apply(**QUIET, runtimeRef={"name": f"nowhere-{number}"})
        done = wait(kubectl, place, "300ms")
        assert done.returncode != 0, done.stdout
        assert "timed out waiting for the condition" in done.stderr


@pytest.mark.pain(2)
def test_while_the_operator_is_away_an_edit_is_never_ready(
    place: Place, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    """Its status says Ready=True of the last generation: both kubectl and kstatus look at that."""
    place.make(**QUIET)
    operator.stop()
    try:
        assert wait(kubectl, place, "1s").returncode == 0
        assert kstatus(place.gateway()) is KStatus.CURRENT
        place.apply(**QUIET, serving={"maxQueue": 7})
        assert place.condition("Ready")["status"] == "True"
        assert wait(kubectl, place, "1s").returncode != 0
        assert kstatus(place.gateway()) is KStatus.IN_PROGRESS
    finally:
        operator.start()
    assert wait(kubectl, place, "30s").returncode == 0
    assert kstatus(place.gateway()) is KStatus.CURRENT


def test_what_nobody_has_looked_at_is_in_progress(
    place: Place, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    """Kstatus believes an object that says nothing; so the API server says that nobody has."""
    operator.stop()
    try:
        place.apply(**QUIET)
        assert place.gateway()["status"] == {"observedGeneration": -1}
        assert kstatus(place.gateway()) is KStatus.IN_PROGRESS
        assert wait(kubectl, place, "1s").returncode != 0
    finally:
        operator.start()
    assert wait(kubectl, place, "30s").returncode == 0
    wait_for(
        lambda: (
            kstatus(place.cluster.must_get("InferenceRuntime", "", "default")) is KStatus.CURRENT
        ),
        "the runtime to be judged, too",
    )
