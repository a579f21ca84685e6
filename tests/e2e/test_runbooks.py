"""Those commands of the runbooks that need a kubelet, typed on a real node.

All others are typed in `tests/integration`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import pytest

from harness.client import Client
from harness.commands import NOT_RUN, Command, list_commands, type_command
from harness.gateway import Gateway
from harness.kubectl import Kubectl
from harness.shell import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

COMMANDS: Final = [it for it in list_commands() if it.needs_node and it.text not in NOT_RUN]
OPERATOR_IMAGE: Final = "igw.dev/operator:0.1.0"
CRASHING: Final = "e2e-crashing"  # a runtime whose containers exit


def says(kubectl: Kubectl, folder: Path, command: str, gateway: Gateway, word: str) -> bool:
    """Whether a command works and prints a word."""
    done = type_command(kubectl, folder, command, NS=gateway.namespace, GW=gateway.name)
    return done.returncode == 0 and word in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [it for it in COMMANDS if "--previous" not in it.text], ids=lambda it: it.name
)
def test_a_command_works_as_it_stands(
    ready_gateway: tuple[Gateway, Client], tmp_path: Path, command: Command
) -> None:
    """Of a gateway that serves. That a filter finds nothing in its log is no failure."""
    gateway, _ = ready_gateway
    (pod, *_) = gateway.pods()
    words = {"POD": pod["metadata"]["name"], "MONITORING": "monitoring"}

    def works() -> bool:
        done = type_command(
            gateway.kubectl, tmp_path, command.fill(words), NS=gateway.namespace, GW=gateway.name
        )
        filtered = "| grep" in command.text and done.returncode == 1 and not done.stderr
        is_served = "port-forward" not in command.text or "200 OK" in done.stdout
        return (done.returncode == 0 or filtered) and is_served

    # Metrics of a pod that is a minute old may not be there yet.
    wait_for(command.text, works, timeout_seconds=120, every_seconds=5)


def test_a_container_that_exits_is_looked_at_as_the_page_says(
    gateway: Gateway, kubectl: Kubectl, tmp_path: Path
) -> None:
    """Its last words, by the commands with `--previous`."""
    found = [it for it in COMMANDS if "--previous" in it.text]
    assert found
    kubectl.apply(
        {
            "apiVersion": "inference.igw.dev/v1alpha1",
            "kind": "InferenceRuntime",
            "metadata": {"name": CRASHING},
            "spec": {"image": OPERATOR_IMAGE},
        }
    )
    try:
        gateway.apply(runtimeRef={"name": CRASHING})
        gateway.wait_reason("CrashLoop")
        (pod, *_) = gateway.pods()
        words = {"POD": pod["metadata"]["name"], "CONTAINER": "runtime"}
        for command in found:
            # Between two starts there are moments without a previous container, or without its log.
            wait_for(
                f"{command.text} to tell what it was started with",
                partial(says, kubectl, tmp_path, command.fill(words), gateway, "'serve'"),
                timeout_seconds=60,
            )
    finally:
        kubectl("delete", "igwr", CRASHING)
