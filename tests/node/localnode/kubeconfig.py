"""Builds kubeconfig files in kind's shape and merges them into an existing one.

The files are JSON, which every reader of YAML reads. Merging is kubectl's work.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from localnode.commands import run, succeeds


def build_kubeconfig(*, name: str, url: str, ca: bytes, token: str) -> dict[str, Any]:
    """Build a kubeconfig whose cluster, user and context share one name."""
    authority = base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": url, "certificate-authority-data": authority}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, config: dict[str, Any]) -> Path:
    """Write a kubeconfig that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n")
    return path


def merge_kubeconfig(kubectl: Path, path: Path, config: dict[str, Any], scratch: Path) -> None:
    """Add the entries to the user's file, as kind does, and make them current."""
    name = config["current-context"]
    path.parent.mkdir(parents=True, exist_ok=True)
    base = [str(kubectl), "config", f"--kubeconfig={path}"]
    authority = scratch / "kubeconfig-ca.crt"
    authority.write_bytes(
        base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    )
    server = config["clusters"][0]["cluster"]["server"]
    options = [f"--server={server}", "--embed-certs", f"--certificate-authority={authority}"]
    run([*base, "set-cluster", name, *options])
    run([*base, "set-credentials", name, f"--token={config['users'][0]['user']['token']}"])
    run([*base, "set-context", name, f"--cluster={name}", f"--user={name}"])
    run([*base, "use-context", name])
    path.chmod(0o600)


def remove_from_kubeconfig(kubectl: Path, path: Path, name: str) -> None:
    """Take the entries out of the user's file again; a file without them is fine."""
    if not path.exists():
        return
    base = [str(kubectl), "config", f"--kubeconfig={path}"]
    for verb in ("delete-context", "delete-cluster", "delete-user"):
        succeeds([*base, verb, name])
    current = [*base, "current-context"]
    if succeeds(current) and run(current).strip() == name:
        run([*base, "unset", "current-context"])
