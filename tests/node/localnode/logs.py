"""Collects the node's logs in one folder, as `kind export logs` does."""

from __future__ import annotations

import shutil
from pathlib import Path

from localnode.cleanup import CLUSTER_FOLDER

_POD_LOGS = Path("/var/log/pods")


def export_logs(target: Path) -> Path:
    """Copy the logs of the node's programs and pods, and the audit log."""
    target.mkdir(parents=True, exist_ok=True)
    for source, name in (
        (CLUSTER_FOLDER / "logs", "node"),
        (CLUSTER_FOLDER / "audit.log", "audit.log"),
        (_POD_LOGS, "pods"),
    ):
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target / name)
    return target.resolve()
