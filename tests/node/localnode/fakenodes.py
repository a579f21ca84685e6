"""Nodes without a machine: the scheduler binds pods to them, and kwok says that they run.

For tests with more gateways than this machine could ever serve. Everything but the kubelet
is real; a pod is Ready a moment after it was bound, and gone a moment after its deletion:

    with ControlPlane(tmp_path / "plane") as plane:
        start_fake_nodes(plane)

What is started ends with the control plane.
"""

from __future__ import annotations

import json
from typing import Any, Final

from localnode.commands import run
from localnode.controlplane import POD_CIDR, ControlPlane
from localnode.errors import NodeError
from localnode.toolchain import tool_folder
from localnode.versions import load_versions

_STAGES: Final = (
    "node/fast/node-initialize.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
)
_SETTINGS: Final = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {
        "manageAllNodes": True,
        "cidr": POD_CIDR,
        # A file sets all of these or kwok does not start: its defaults are for its flags only.
        "nodePlayStageParallelism": 4,
        "podPlayStageParallelism": 16,
        "podsOnNodeSyncParallelism": 4,
        # Heartbeats are leases, one a node: without them pods are evicted after a minute.
        "nodeLeaseDurationSeconds": 40,
        "nodeLeaseParallelism": 4,
        "enableDebuggingHandlers": False,
    },
}
# kwok's own default is 1 Ti of memory, where 250 gateways fit.
_ROOM: Final = {"cpu": "1M", "memory": "1Pi", "ephemeral-storage": "1Pi", "pods": "1M"}


def start_fake_nodes(plane: ControlPlane, *, count: int = 3) -> None:
    """Start scheduler and kwok beside a running control plane, and register the nodes."""
    tool = load_versions().tools["kwok"]
    stages = tool_folder(tool) / "share" / "kwok-stages"
    config = plane.kubeconfig(
        plane.directory / "kwok.kubeconfig", user="kwok", url=plane.internal_url
    )
    settings = plane.directory / "kwok.json"
    settings.write_text(json.dumps(_SETTINGS))
    files = [settings, *(stages / stage for stage in _STAGES)]
    command = [plane.binary("kwok", "kwok"), f"--kubeconfig={config}"]
    command += [f"--config={file}" for file in files]
    plane.start_scheduler()
    kwok = plane.supervisor.start("kwok", command, {"HOME": str(plane.directory)})
    nodes = [build_node(number) for number in range(count)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
    kubectl = [plane.binary("kubernetes", "kubectl"), f"--kubeconfig={config}"]
    quiet = {"KUBECACHEDIR": str(plane.directory / "kubectl")}
    # An apply would not set the status.
    run([*kubectl, "create", "-f", "-"], text_in=text, env=quiet)
    try:
        run([*kubectl, "wait", "--for=condition=Ready", "node", "--all"], env=quiet)
    except NodeError as error:
        if kwok.alive:
            raise
        raise NodeError(plane.supervisor.explain_exit("kwok")) from error


def build_node(number: int) -> dict[str, Any]:
    """A node in a zone of its own that has room for anything: no test is about its size."""
    name = f"fake-{number}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{number}",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"capacity": dict(_ROOM), "allocatable": dict(_ROOM)},
    }
