"""What may be done to the API server and etcd themselves."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from localnode.controlplane import ControlPlane
from localnode.processes import Process


def _find(plane: ControlPlane, name: str) -> tuple[Process, list[str]]:
    process = next(it for it in plane.supervisor.recorded() if it.name == name)
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    return process, [part.decode() for part in command]


def restart_api_server(plane: ControlPlane) -> None:
    """End it in order and start it with the same arguments."""
    process, command = _find(plane, "kube-apiserver")
    plane.supervisor.stop_one(process, 10)
    plane.supervisor.start("kube-apiserver", command)


def compact(plane: ControlPlane, revision: int) -> None:
    """As etcdctl does, over etcd's JSON gateway."""
    _, command = _find(plane, "etcd")
    flag = "--listen-client-urls="
    url = next(part for part in command if part.startswith(flag)).removeprefix(flag)
    body = json.dumps({"revision": str(revision), "physical": True}).encode()
    request = urllib.request.Request(f"{url}/v3/kv/compaction", data=body)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert answer.status == 200
