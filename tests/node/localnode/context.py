"""Reads a build context the way an image builder does: every file but the ignored ones.

Pure apart from reading files; `build` hashes what is found here.
Patterns: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path


def parse_ignore(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """Turn an ignore file into (ignored or kept, pattern) pairs; the last match wins."""
    rules = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        ignored = not line.startswith("!")
        rules.append((ignored, compile_pattern(line.removeprefix("!").strip().strip("/"))))
    return rules


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Translate one pattern; it also matches everything below what it names."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern.removeprefix("./"))
    body = "".join(
        parts.get(token) or (token if token.startswith("[") else re.escape(token))
        for token in tokens
    )
    return re.compile(f"{body}(?:/.*)?")


def is_ignored(path: str, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """Tell whether a path of the context is left out."""
    verdict = False
    for ignored, pattern in rules:
        if pattern.fullmatch(path):
            verdict = ignored
    return verdict


def read_ignore_rules(context: Path, dockerfile: Path) -> list[tuple[bool, re.Pattern[str]]]:
    """Read the ignore file: the Dockerfile's own one if it has one."""
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    for path in (own, context / ".dockerignore"):
        if path.exists():
            return parse_ignore(path.read_text())
    return []


def hash_context(context: Path, dockerfile: Path) -> str:
    """Hash names, modes and contents of what a build can see."""
    rules = read_ignore_rules(context, dockerfile)
    negated = any(not ignored for ignored, _ in rules)
    digest = hashlib.sha256()
    for folder, names, files in os.walk(context):
        names.sort()
        here = Path(folder).relative_to(context)
        if not negated:
            names[:] = [name for name in names if not is_ignored(str(here / name), rules)]
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in sorted(files + links):
            path = here / name
            if not is_ignored(path.as_posix(), rules):
                digest.update(_describe(context / path, path.as_posix()))
    return digest.hexdigest()


def _describe(path: Path, name: str) -> bytes:
    if path.is_symlink():
        return f"{name}\0link\0{path.readlink()}\0".encode()
    if not path.is_file():
        return f"{name}\0special\0".encode()
    mode = path.stat().st_mode & 0o777
    return f"{name}\0{mode:o}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode()
