"""An environment for each peer, outside the checkout, from requirements pinned by hash."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_PEERS: Final = Path(__file__).with_name("peers")
_TORCH: Final = _PEERS / "torch.txt"


class InstallError(Exception):
    """A peer cannot be had here; the message is the installer's."""


def find_cache() -> Path:
    """Return the folder that the Makefile uses, too."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("IGW_CACHE") or Path(base) / "igw")


def ensure_environment(peer: str, *, torch: bool = False) -> Path:
    """Return the environment's folder; install it first where that was not done before.

    With torch it is another one: the first table's servers must not carry it. uv links files from
    its cache, so that five environments take the room of one.
    """
    files = [_PEERS / peer / "requirements.txt", *([_TORCH] if torch else [])]
    digest = hashlib.sha256(b"".join(it.read_bytes() for it in files)).hexdigest()[:12]
    name = f"venv-peer-{peer}{'-torch' if torch else ''}-{digest}"
    folder = find_cache() / name
    if (folder / ".ready").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    run_quietly(["uv", "venv", "--quiet", "--python", _choose_python(peer), str(folder)])
    arguments = [argument for it in files for argument in ("--requirement", str(it))]
    python = str(folder / "bin" / "python")
    run_quietly(
        ["uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", *arguments]
    )
    (folder / ".ready").touch()
    return folder


def find_versions() -> dict[str, str]:
    """Return which versions of the peers are pinned, and of torch."""
    found = {}
    for file in [*sorted(_PEERS.glob("*/requirements.txt")), _TORCH]:
        peer = file.stem if file is _TORCH else file.parent.name
        match = re.search(rf"^(?:nvidia-)?{peer}==(\S+)", file.read_text(), re.MULTILINE)
        found[peer] = match.group(1) if match else "not pinned"
    return found


def _choose_python(peer: str) -> str:
    # Triton's embedded Python needs the standard library it was built with: Debian's 3.11.
    return "/usr/bin/python3" if peer == "pytriton" else sys.executable


def run_quietly(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command, with additions to the environment; what it says matters if it fails.

    Raises:
        InstallError: it failed.
    """
    env = os.environ | (environment or {})
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
