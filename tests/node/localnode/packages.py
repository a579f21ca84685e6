"""Installs what comes from the distribution: containerd, runc, CNI plugins, buildah, iptables.

Only what is missing is installed, and no service of theirs is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localnode.errors import NodeError
from localnode.locks import hold_lock
from localnode.paths import cache_root
from localnode.progress import say

_POLICY = Path("/usr/sbin/policy-rc.d")


def find_missing(packages: Mapping[str, str]) -> list[str]:
    """List the packages whose command or file is not on this machine."""
    return [package for package, proof in packages.items() if not _is_present(proof)]


def _is_present(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof) is not None


def install_packages(packages: Mapping[str, str]) -> None:
    """Install the missing packages with apt-get."""
    with hold_lock(cache_root() / "locks" / "packages", lambda: say("waiting for apt …", end=" ")):
        missing = find_missing(packages)
        if not missing:
            return
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            message = f"install these packages, as root: {' '.join(missing)}"
            raise NodeError(message)
        with _no_service_starts():
            _apt("update", "-qq")
            _apt("install", "-y", "-qq", "--no-install-recommends", *missing)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Let no package start its service; a policy that is there already is left alone."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _apt(*arguments: str) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"'apt-get {arguments[0]}' failed: {done.stderr.strip()[-1500:]}"
        raise NodeError(message)
