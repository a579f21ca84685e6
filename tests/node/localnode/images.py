"""Makes the images a cluster starts with, without a registry, and keeps them as archives.

Two kinds: upstream names around the binaries of `toolchain` (so that manifests
stay what a user with internet applies), and the base image of the project's
Dockerfiles, bootstrapped from distribution packages. `build` adds the user's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localnode.commands import run
from localnode.errors import NodeError
from localnode.locks import hold_lock
from localnode.oci import normalise_reference, write_archive, write_layer
from localnode.paths import cache_root
from localnode.progress import say
from localnode.toolchain import binary_path, tool_folder
from localnode.versions import BaseImage, GoTool, ToolImage

_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_RECIPE = 1  # raise it when this module makes images differently


class ImageStore:
    """Archives in the cache, one folder per reference, each with the key it was made from."""

    def __init__(self) -> None:
        self.folder = cache_root() / "images"

    def archive(self, reference: str) -> Path:
        """Return where a reference's archive is, or will be."""
        return self._entry(reference) / "image.tar"

    def holds(self, reference: str, key: str) -> bool:
        """Tell whether the archive was made from these very inputs."""
        path = self._entry(reference) / "key"
        return path.exists() and path.read_text() == key and self.archive(reference).exists()

    def key(self, reference: str) -> str:
        """Return the key a stored image was made from, empty if there is none."""
        path = self._entry(reference) / "key"
        return path.read_text() if path.exists() else ""

    def archives(self) -> list[Path]:
        """List all archives."""
        return sorted(self.folder.glob("*/image.tar"))

    def make(self, reference: str, key: str, write: Callable[[Path], None]) -> bool:
        """Store what `write` writes, unless it is there already; tell whether it was made."""
        entry = self._entry(reference)
        lock = cache_root() / "locks" / f"image-{entry.name}"
        with hold_lock(lock, lambda: say("waiting for another build …", end=" ")):
            if self.holds(reference, key):
                return False
            with scratch_folder() as scratch:
                write(scratch / "image.tar")
                (scratch / "key").write_text(key)
                entry.mkdir(parents=True, exist_ok=True)
                # The key goes first and comes last: an archive without one is no answer.
                (entry / "key").unlink(missing_ok=True)
                (scratch / "image.tar").rename(entry / "image.tar")
                (scratch / "key").rename(entry / "key")
            return True

    def _entry(self, reference: str) -> Path:
        full = normalise_reference(reference)
        digest = hashlib.sha256(full.encode()).hexdigest()[:8]
        return self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', full)}-{digest}"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Lend a folder on the cache's disk, so that a finished file can be renamed into place."""
    parent = cache_root() / "work"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="image-") as name:
        yield Path(name)


def tool_image_key(image: ToolImage, tools: dict[str, GoTool]) -> str:
    """Name the image by the builds it holds."""
    parts: list[Any] = [_RECIPE, image.reference, image.entrypoint, image.command]
    parts += [image.user, image.workdir, image.directories]
    for path, source in sorted(image.files.items()):
        tool, _, _ = source.partition(":")
        parts.append([path, tool_folder(tools[tool]).name if tool in tools else source])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def make_tool_image(store: ImageStore, image: ToolImage, tools: dict[str, GoTool]) -> None:
    """Make an image around binaries of the cache or of the distribution."""

    def write(target: Path) -> None:
        layer = target.with_name("layer.tar")
        files = {_CA_BUNDLE: Path(_CA_BUNDLE)}
        for path, source in image.files.items():
            files |= _resolve(path, source, tools)
        write_layer(layer, files, ("/tmp", *image.directories))  # noqa: S108 - in the image
        config = {
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "WorkingDir": image.workdir,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        }
        write_archive(target, normalise_reference(image.reference), layer, config)
        layer.unlink()

    store.make(image.reference, tool_image_key(image, tools), write)


def _resolve(path: str, source: str, tools: dict[str, GoTool]) -> dict[str, Path]:
    tool, colon, name = source.partition(":")
    if colon:
        return {path: binary_path(tools[tool], name)}
    origin = Path(source)
    if not origin.exists():
        message = f"{source} is missing; run 'tests/node/kind ensure --only packages'"
        raise NodeError(message)
    if origin.is_dir():
        found = (entry for entry in origin.rglob("*") if entry.is_file())
        return {f"{path}/{entry.relative_to(origin)}": entry for entry in found}
    # A dynamic binary brings its libraries: lines of ldd that hold a path.
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", source]))
    return {path: origin} | {library: Path(library).resolve() for library in libraries}


def base_image_key(image: BaseImage) -> str:
    """Name the base image by what goes into it."""
    parts = [_RECIPE, image.reference, image.suite, image.include]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def make_base_image(store: ImageStore, image: BaseImage) -> None:
    """Bootstrap the base image from distribution packages."""
    if os.geteuid() != 0:
        message = "bootstrapping the base image needs root; run 'sudo tests/node/kind ensure'"
        raise NodeError(message)

    def write(target: Path) -> None:
        rootfs, layer = target.with_name("rootfs"), target.with_name("layer.tar")
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(image.include)}"]
        run([*command, image.suite, str(rootfs), *_find_mirror(image.suite)])
        _shape_like_upstream(rootfs)
        run(["tar", "--numeric-owner", "-C", str(rootfs), "-cf", str(layer), "."])
        shutil.rmtree(rootfs)
        config = {
            "Cmd": ["python3"],
            "Env": [
                "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ],
        }
        write_archive(target, normalise_reference(image.reference), layer, config)
        layer.unlink()

    store.make(image.reference, base_image_key(image), write)


def _find_mirror(suite: str) -> list[str]:
    """Return the mirror this machine's apt uses for the suite, if it uses one."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    lines = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    found = (line.split() for line in lines.splitlines())
    return [uri for uri, release, part in found if (release, part) == (suite, "main")][:1]


def _shape_like_upstream(rootfs: Path) -> None:
    """Give Debian's Python the paths and habits of Docker's python image."""
    local = rootfs / "usr/local/bin"
    for name, target in {
        "python3": "/usr/bin/python3",
        "python": "python3",
        "pip": "/usr/bin/pip",
        "pip3": "/usr/bin/pip3",
    }.items():
        (local / name).symlink_to(target)
    for marker in rootfs.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for library in rootfs.glob("usr/lib/python3.*"):
        packages = rootfs / "usr/local/lib" / library.name
        (packages / "dist-packages").mkdir(parents=True, exist_ok=True)
        (packages / "site-packages").symlink_to("dist-packages")
    for unwanted in ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "var/log/*.log"):
        for entry in rootfs.glob(unwanted):
            entry.unlink()
    (rootfs / "etc/pip.conf").touch()
    (rootfs / "root/.cache/pip").mkdir(parents=True)
