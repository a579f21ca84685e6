"""The node's own containerd: started with its own folders and socket, fed with archives.

Separate from any containerd or Docker on the machine. Called by `node` and `cli`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from localnode.commands import run, succeeds
from localnode.errors import NodeError
from localnode.images import ImageStore
from localnode.network import BRIDGE, POD_SUBNET
from localnode.oci import normalise_reference, read_archive_index
from localnode.paths import RUN, STATE
from localnode.processes import Supervisor

SOCKET = RUN / "containerd" / "containerd.sock"
_CNI_FOLDER = STATE / "cni"
_START_SECONDS = 20.0
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
_CTR = ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io"]

_CONFIG = f"""\
version = 2
root = "{STATE}/containerd"
state = "{RUN}/containerd/state"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "{STATE}/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE a lower score is refused, and with it every sandbox.
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{_CNI_FOLDER}"
max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""

_CNI = {
    "cniVersion": "0.4.0",
    "name": "igw-node",
    "plugins": [
        {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(RUN / "ipam"),
                "ranges": [[{"subnet": POD_SUBNET}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def start_containerd(supervisor: Supervisor) -> None:
    """Start containerd and wait until it answers."""
    _CNI_FOLDER.mkdir(parents=True, exist_ok=True)
    SOCKET.parent.mkdir(parents=True, exist_ok=True)
    (_CNI_FOLDER / "10-igw-node.conflist").write_text(json.dumps(_CNI))
    config = STATE / "containerd.toml"
    config.write_text(_CONFIG)
    process = supervisor.start("containerd", ["containerd", "--config", str(config)])
    deadline = time.monotonic() + _START_SECONDS
    while not succeeds([*_CTR, "version"]):
        if not process.alive or time.monotonic() > deadline:
            raise NodeError(supervisor.explain_exit("containerd"))
        time.sleep(0.1)


def import_archives(archives: list[Path]) -> list[str]:
    """Import the images that the runtime does not hold yet; return their references."""
    present = list_images()
    imported: list[str] = []
    for path in archives:
        index = read_archive_index(path)
        if index and all(present.get(name) == digest for name, digest in index.items()):
            continue
        run([*_CTR, "images", "import", str(path)])
        imported += index
    return imported


def import_stored_images(store: ImageStore) -> list[str]:
    """Import every archive of the cache, those that pods need first of all at the front."""
    first = store.archive(PAUSE_IMAGE)
    archives = sorted(store.archives(), key=lambda path: (path != first, path.stat().st_size))
    return import_archives(archives)


def tag_image(image: str, name: str) -> None:
    """Give an image that the runtime holds another name."""
    run([*_CTR, "images", "tag", "--force", normalise_reference(image), normalise_reference(name)])


def list_images() -> dict[str, str]:
    """Return what the runtime holds: reference -> digest."""
    rows = (line.split() for line in run([*_CTR, "images", "list"]).splitlines()[1:])
    return {row[0]: row[2] for row in rows}


def remove_containers() -> None:
    """Remove every container, so that only images stay for the next cluster."""
    for task in run([*_CTR, "tasks", "list", "--quiet"]).split():
        succeeds([*_CTR, "tasks", "delete", "--force", task])
    names = run([*_CTR, "containers", "list", "--quiet"]).split()
    if names:
        run([*_CTR, "containers", "delete", *names])
