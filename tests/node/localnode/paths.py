"""Where the local node keeps things: a cache that survives, and state that `purge` removes.

Every other module asks here; no other module reads the environment for a folder.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NODE_FOLDER = PACKAGE.parent
VERSIONS_FILE = NODE_FOLDER / "versions.toml"
BUILD_FOLDER = NODE_FOLDER / "build"

STATE = Path("/var/lib/igw-node")
RUN = Path("/run/igw-node")


def cache_root() -> Path:
    """Return the folder of things worth keeping: binaries, image archives, pip's cache."""
    if explicit := os.environ.get("IGW_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "igw"
