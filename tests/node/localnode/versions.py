"""Reads `versions.toml`: which tools, packages and images the local node is made of.

Parsing only; `toolchain`, `packages` and `images` act on what is returned here.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localnode.errors import NodeError
from localnode.paths import VERSIONS_FILE

_LISTS = ("entrypoint", "command", "directories")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoTool:
    """Binaries and files of one Go module under `build/`; either may be missing."""

    name: str
    version: str
    build_seconds: int
    disk_gib: int
    packages: dict[str, str] = field(default_factory=dict)
    ldflags: str = ""
    tags: str = ""
    share: dict[str, dict[str, str]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    on_demand: bool = False
    """Left out where everything is made: only some who name it want it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolImage:
    """An image made of binaries under its upstream name, so manifests need no rewriting."""

    reference: str
    entrypoint: tuple[str, ...]
    files: dict[str, str]
    user: str = "0"
    workdir: str = "/"
    command: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """The distribution image that Dockerfiles start from, bootstrapped from packages."""

    reference: str
    suite: str
    include: tuple[str, ...]
    build_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Everything pinned in `versions.toml`."""

    tools: dict[str, GoTool]
    apt_packages: dict[str, str]
    apt_seconds: int
    base_images: tuple[BaseImage, ...]
    images: tuple[ToolImage, ...]
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)


def load_versions(path: Path = VERSIONS_FILE) -> Versions:
    """Read and check the versions file."""
    try:
        data = tomllib.loads(path.read_text())
        return parse_versions(data)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        message = f"cannot read {path}: {error!r}; restore it with 'git checkout -- {path}'"
        raise NodeError(message) from error


def parse_versions(data: dict[str, Any]) -> Versions:
    """Turn the file's tables into typed entries; unknown keys are errors."""
    tools = {name: GoTool(name=name, **entry) for name, entry in data["go"].items()}
    return Versions(
        tools=tools,
        apt_packages=dict(data["apt"]["packages"]),
        apt_seconds=int(data["apt"]["build_seconds"]),
        base_images=tuple(
            BaseImage(**{**entry, "include": tuple(entry["include"])})
            for entry in data.get("base_image", [])
        ),
        images=tuple(_parse_image(entry) for entry in data.get("image", [])),
        sets={name: tuple(members) for name, members in data.get("sets", {}).items()},
    )


def _parse_image(entry: dict[str, Any]) -> ToolImage:
    lists = {key: tuple(entry[key]) for key in _LISTS if key in entry}
    return ToolImage(**{**entry, **lists})
