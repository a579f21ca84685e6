"""Builds the Go tools into the cache, once per version, and says where the binaries are.

Each tool has a module of its own under `build/` because their dependencies
conflict. A build gets private Go caches, which are dropped once the binaries are
stored; a build that was killed finds them again and goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from localnode.errors import NodeError
from localnode.locks import hold_lock
from localnode.paths import BUILD_FOLDER, cache_root
from localnode.progress import say
from localnode.versions import GoTool

_GIB = 1024**3
_LOG_TAIL_LINES = 15


def compute_key(tool: GoTool, sources: Path) -> str:
    """Name the build by everything that decides its outcome."""
    digest = hashlib.sha256()
    recipe = [tool.version, tool.packages, tool.ldflags, tool.tags, tool.share]
    digest.update(json.dumps(recipe, sort_keys=True).encode())
    for path in sorted(sources.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{tool.name}-{tool.version}-{digest.hexdigest()[:12]}"


def tool_folder(tool: GoTool) -> Path:
    """Return where the tool's `bin/` and `share/` are, or will be."""
    return cache_root() / "tools" / compute_key(tool, BUILD_FOLDER / tool.name)


def binary_path(tool: GoTool, name: str) -> Path:
    """Return a built binary, or say how to get it."""
    path = tool_folder(tool) / "bin" / name
    if not path.exists():
        message = f"{name} {tool.version} is not built; run 'tests/node/kind ensure'"
        raise NodeError(message)
    return path


def is_built(tool: GoTool) -> bool:
    """Tell whether the cache holds this exact build."""
    return tool_folder(tool).is_dir()


def build_tool(tool: GoTool, jobs: int) -> None:
    """Build the tool unless somebody else just did."""
    target = tool_folder(tool)
    lock = cache_root() / "locks" / f"tool-{tool.name}"
    with hold_lock(lock, lambda: say("waiting for another build …", end=" ")):
        if target.is_dir():
            return
        _check_prerequisites(tool)
        work = cache_root() / "work" / target.name
        _drop_stale_work(tool, keep=work)
        _compile(tool, work, jobs)
        _store(work / "out", target)
        shutil.rmtree(work)


def _check_prerequisites(tool: GoTool) -> None:
    if shutil.which("go") is None:
        message = "Go is missing; install Go 1.26 or newer and put 'go' on PATH"
        raise NodeError(message)
    cache_root().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_root()).free
    if free < tool.disk_gib * _GIB:
        message = (
            f"building {tool.name} needs {tool.disk_gib} GiB free under {cache_root()}, "
            f"there are {free // _GIB}; free some, or set IGW_CACHE to a larger disk"
        )
        raise NodeError(message)


def _drop_stale_work(tool: GoTool, *, keep: Path) -> None:
    for old in keep.parent.glob(f"{tool.name}-*"):
        if old != keep:
            shutil.rmtree(old)


def _compile(tool: GoTool, work: Path, jobs: int) -> None:
    source, out = work / "src", work / "out"
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    (out / "bin").mkdir(parents=True)
    shutil.copytree(BUILD_FOLDER / tool.name, source)
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(work / "gocache"),
        "GOMODCACHE": str(work / "gomod"),
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        **tool.env,
    }
    log = work / "build.log"
    if tool.packages:
        _build_binaries(tool, work, env, jobs)
    for share, origin in tool.share.items():
        _go(["mod", "download", origin["module"]], source, env, log)
        where = _go(["list", "-m", "-f", "{{.Dir}}", origin["module"]], source, env, log)
        shutil.copytree(Path(where.strip()) / origin["path"], out / "share" / share)


def _build_binaries(tool: GoTool, work: Path, env: dict[str, str], jobs: int) -> None:
    source, out, log = work / "src", work / "out", work / "build.log"
    common = ["-trimpath", f"-ldflags=-s -w {tool.ldflags}".rstrip()]
    if jobs:
        common.append(f"-p={jobs}")
    if tool.tags:
        common.append(f"-tags={tool.tags}")
    # One call for all packages shares the link and compile work between them.
    stage = work / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    packages = list(tool.packages.values())
    _go(["build", *common, "-o", f"{stage}/", *packages], source, env, log)
    names = _go(["list", "-f", "{{.ImportPath}} {{.Target}}", *packages], source, env, log)
    built = dict(zip(tool.packages, names.splitlines(), strict=True))
    for name, line in built.items():
        (stage / Path(line.split()[-1]).name).rename(out / "bin" / name)


def _go(arguments: list[str], folder: Path, env: dict[str, str], log: Path) -> str:
    with log.open("a") as errors:
        done = subprocess.run(
            ["go", *arguments],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    if done.returncode:
        tail = "\n  ".join(log.read_text().splitlines()[-_LOG_TAIL_LINES:])
        message = f"'go {arguments[0]}' failed; its log is {log}:\n  {tail}"
        raise NodeError(message)
    return done.stdout


def _store(finished: Path, target: Path) -> None:
    """Rename into place, so that a half-written folder is never taken for a build."""
    target.parent.mkdir(parents=True, exist_ok=True)
    finished.rename(target)
