"""Removes what the node made on this machine, and checks that nothing of it is left.

`delete cluster` keeps the runtime's images for the next cluster; `purge` keeps
only the cache. Ends only programs that were recorded, shims of the node's own
containerd, and what runs in the node's own cgroup.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

from localnode.commands import succeeds
from localnode.network import list_ip_sets, list_links, list_rules, tear_down_network
from localnode.paths import RUN, STATE, cache_root
from localnode.processes import Process, Supervisor, read_start_time
from localnode.runtime import SOCKET, remove_containers

CGROUP_NAME = "igw-node"
CLUSTER_FOLDER = STATE / "cluster"

# Folders whose place the programs do not let anybody choose.
_SHARED_FOLDERS = (
    Path("/run/containerd"),
    Path("/var/lib/cni"),
    Path("/var/lib/kubelet"),
    Path("/var/log/containers"),
    Path("/var/log/pods"),
)
_FOLDER_RECORD = STATE / "folders.json"
_IMAGES = STATE / "containerd"
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_POLL_SECONDS = 0.05
_END_SECONDS = 10.0


def record_folders() -> None:
    """Note which shared folders are not the node's, before it makes any."""
    if not _FOLDER_RECORD.exists():
        _FOLDER_RECORD.parent.mkdir(parents=True, exist_ok=True)
        existing = [str(path) for path in _SHARED_FOLDERS if path.exists()]
        _FOLDER_RECORD.write_text(json.dumps(existing))


def make_cgroups() -> None:
    """Make the cgroup that every pod is placed under, in each hierarchy there is."""
    for root in _hierarchies():
        (root / CGROUP_NAME).mkdir(exist_ok=True)
        # Version 1 leaves these empty, and no process can join such a cgroup.
        for name in ("cpuset.cpus", "cpuset.mems"):
            inherited = root / name
            if inherited.exists():
                (root / CGROUP_NAME / name).write_text(inherited.read_text())


def remove_cluster(*, keep_images: bool) -> None:
    """End the cluster and remove everything but, perhaps, the runtime's images."""
    supervisor = Supervisor(CLUSTER_FOLDER)
    runtime = [entry for entry in supervisor.recorded() if entry.name == "containerd"]
    running = any(entry.alive for entry in runtime)
    for process in reversed(supervisor.recorded()):
        if process.name != "containerd":
            supervisor.stop_one(process, timeout_seconds=2.0)
    _kill_pods()
    if running:
        remove_containers()
    supervisor.stop()
    _kill_all(_find_shims())
    _unmount_below(RUN, STATE, cache_root() / "buildah")
    tear_down_network()
    _remove_cgroups()
    keep = keep_images and running and _IMAGES.exists()
    _remove_folders(keep_images=keep)


def list_leftovers() -> list[str]:
    """List everything of the node that is on this machine now; empty after `purge`."""
    found = [f"process {entry.pid} ({entry.name})" for entry in _own_processes()]
    found += [f"mount {path}" for path in _list_mounts(RUN, STATE, cache_root() / "buildah")]
    found += list_links()
    for family in ("iptables", "ip6tables"):
        found += [f"{family} {rule}" for rule in list_rules(family)]
    found += [f"ipset {name}" for name in list_ip_sets()]
    found += [
        f"cgroup {root / CGROUP_NAME}" for root in _hierarchies() if (root / CGROUP_NAME).is_dir()
    ]
    netns = Path("/run/netns")
    if netns.is_dir():
        found += [f"network namespace {path}" for path in netns.glob("cni-*")]
    found += [f"folder {path}" for path in (STATE, RUN) if path.exists()]
    return found


def _own_processes() -> list[Process]:
    recorded = [entry for entry in Supervisor(CLUSTER_FOLDER).recorded() if entry.alive]
    known = {entry.pid for entry in recorded}
    others = [entry for entry in [*_find_shims(), *_find_pod_processes()] if entry.pid not in known]
    return recorded + others


def _find_shims() -> list[Process]:
    """Find the shims that serve the node's containerd: its socket is in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in arguments[0] and str(SOCKET).encode() in arguments:
            found += _identify("containerd-shim", int(path.parent.name))
    return found


def _find_pod_processes() -> list[Process]:
    pids: set[int] = set()
    for root in _hierarchies():
        for folder in _list_cgroups(root / CGROUP_NAME):
            try:
                pids |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
            except OSError:
                continue
    return [entry for pid in sorted(pids) for entry in _identify("pod process", pid)]


def _identify(name: str, pid: int) -> list[Process]:
    started = read_start_time(pid)
    return [Process(name=name, pid=pid, started=started)] if started else []


def _kill_pods() -> None:
    # A second look: a process may have been started between the listing and its end.
    for _ in range(3):
        found = _find_pod_processes()
        if not found:
            return
        _kill_all(found)


def _kill_all(processes: list[Process]) -> None:
    for process in processes:
        if process.alive:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    deadline = time.monotonic() + _END_SECONDS
    while any(entry.alive for entry in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _list_mounts(*folders: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    return [
        point
        for point in reversed(points)
        if any(point == str(folder) or point.startswith(f"{folder}/") for folder in folders)
    ]


def _unmount_below(*folders: Path) -> None:
    for point in _list_mounts(*folders):
        if not succeeds(["umount", point]):
            succeeds(["umount", "--lazy", point])


def _hierarchies() -> list[Path]:
    """List where cgroups are mounted: one folder for version 2, one per controller for 1."""
    if (_CGROUP_ROOT / "cgroup.controllers").exists():
        return [_CGROUP_ROOT]
    folders = (path for path in _CGROUP_ROOT.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted(path for path in folders if (path / "cgroup.procs").exists())


def _remove_cgroups() -> None:
    for root in _hierarchies():
        own = root / CGROUP_NAME
        if not own.is_dir():
            continue
        for path in _list_cgroups(own):
            _remove_cgroup(path)


def _list_cgroups(own: Path) -> list[Path]:
    """A cgroup and all below it, innermost first.

    kubelet and kernel remove some meanwhile: ``os.walk`` passes over those, ``rglob`` does not.
    """
    return [Path(folder) for folder, _, _ in os.walk(own, topdown=False)]


def _remove_cgroup(path: Path) -> None:
    """Remove a cgroup; the kernel may need a moment after its last process ended."""
    deadline = time.monotonic() + _END_SECONDS
    while path.exists():
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _remove_folders(*, keep_images: bool) -> None:
    foreign = json.loads(_FOLDER_RECORD.read_text()) if _FOLDER_RECORD.exists() else None
    if foreign is not None:
        for path in _SHARED_FOLDERS:
            if str(path) not in foreign:
                shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(RUN, ignore_errors=True)
    if not STATE.exists():
        return
    for path in STATE.iterdir():
        if keep_images and path == _IMAGES:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not keep_images:
        STATE.rmdir()
