"""Builds the user's Dockerfiles with buildah, once per content, into the image store.

The store's archive outlives the cluster: a running one gets the image at once, a
later one when it is created.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from localnode.commands import run, run_and_show
from localnode.context import hash_context
from localnode.errors import NodeError
from localnode.images import ImageStore, scratch_folder
from localnode.layers import LayerRecord, find_unused, note_layer, shorten
from localnode.locks import hold_lock
from localnode.oci import normalise_reference
from localnode.paths import cache_root
from localnode.progress import say
from localnode.versions import BaseImage

# buildah notes there which blobs it has seen, wherever its storage is.
_SHARED_FOLDER = Path("/var/lib/containers")
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What `kind build` was asked for."""

    tag: str
    context: Path
    dockerfile: Path
    target: str = ""
    build_args: tuple[str, ...] = ()


def build_image(store: ImageStore, request: BuildRequest, bases: tuple[BaseImage, ...]) -> bool:
    """Build and store the image; tell whether there was anything to do."""
    for path in (request.context, request.dockerfile):
        if not path.exists():
            message = f"{path} does not exist; give -f DOCKERFILE and a CONTEXT folder"
            raise NodeError(message)
    key = compute_build_key(request, {base.reference: store.key(base.reference) for base in bases})

    def write(target: Path) -> None:
        lock = cache_root() / "locks" / "buildah"
        with hold_lock(lock, lambda: say("waiting for another build …")):
            foreign = _SHARED_FOLDER.exists()
            buildah = _Buildah()
            _load_bases(buildah, store, bases)
            _bud_and_push(buildah, request, target)
            buildah.drop_unused({normalise_reference(base.reference) for base in bases})
            if not foreign:
                shutil.rmtree(_SHARED_FOLDER, ignore_errors=True)

    return store.make(request.tag, key, write)


def compute_build_key(request: BuildRequest, base_keys: Mapping[str, str]) -> str:
    """Name the build by everything that goes into it."""
    parts = [
        normalise_reference(request.tag),
        request.target,
        sorted(request.build_args),
        sorted(base_keys.items()),
        hashlib.sha256(request.dockerfile.read_bytes()).hexdigest(),
        hash_context(request.context, request.dockerfile),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def build_pip_config(environment: Mapping[str, str], host_config: str, bundle: str) -> str:
    """Write this machine's pip settings (its file, then PIP_*) as a file for a build."""
    skipped = {"config-file", "cache-dir", "no-cache-dir"}
    host = configparser.ConfigParser(interpolation=None)
    host.read_string(host_config)
    options = dict(host["global"]) if host.has_section("global") else {}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            options[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    options["cert"] = bundle
    lines = [f"{name} = {options[name]}" for name in sorted(options) if name not in skipped]
    return "\n".join(["[global]", *lines, ""])


class _Buildah:
    """buildah with storage of its own in the cache, and no trace elsewhere."""

    def __init__(self) -> None:
        self._folder = cache_root() / "buildah"
        self._folder.mkdir(parents=True, exist_ok=True)
        storage, settings = self._folder / "storage.conf", self._folder / "containers.conf"
        root, runroot = self._folder / "root", self._folder / "run"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{root}"\nrunroot = "{runroot}"\n'
        )
        self._record = LayerRecord(self._folder / "layers.json")
        settings.write_text(f'[network]\nnetwork_config_dir = "{self._folder / "networks"}"\n')
        self._env = {
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(settings),
        }

    def run(self, *arguments: str) -> str:
        """Run a subcommand quietly."""
        return run(["buildah", *arguments], env=self._env)

    def build(self, tag: str, *arguments: str) -> None:
        """Build visibly, and note the layers that it used."""
        used: list[str] = []

        def show(line: str) -> None:
            if not note_layer(line, used):
                say(shorten(line))

        try:
            run_and_show(["buildah", "bud", *arguments], show, env=self._env)
        finally:
            # A build that failed is tried again, and goes on from its layers.
            self._record.add(tag, used)

    def drop_unused(self, bases: Container[str]) -> None:
        """Drop the layers that no noted build uses; without it the storage grows for ever."""
        images = self.run("images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Name}}:{{.Tag}}")
        unused = find_unused(images.splitlines(), self._record.builds(), bases)
        try:
            self.run("rm", "--all")  # builds that failed leave theirs, which hold layers
            if unused:
                self.run("rmi", *unused)
        except NodeError as error:
            say(f"Old layers stay: {error}")  # the image is built all the same

    def holds(self, image: str) -> bool:
        """Tell whether the storage has an image."""
        return image in self.run("images", "--format", "{{.Name}}:{{.Tag}}").split()

    def marker(self, archive: Path) -> Path:
        """Return the file that notes from which key an archive was loaded."""
        return self._folder / f"{archive.parent.name}.key"


def _load_bases(buildah: _Buildah, store: ImageStore, bases: tuple[BaseImage, ...]) -> None:
    """Put the base images into buildah's own storage, again when they were made anew."""
    for base in bases:
        archive, key = store.archive(base.reference), store.key(base.reference)
        if not archive.exists():
            message = f"{base.reference} is not made yet; run 'tests/node/kind ensure'"
            raise NodeError(message)
        marker = buildah.marker(archive)
        name = normalise_reference(base.reference)
        known = marker.exists() and marker.read_text() == key
        if known and buildah.holds(name):
            continue
        pulled = buildah.run("pull", "--quiet", f"oci-archive:{archive}").split()[-1]
        buildah.run("tag", pulled, name)
        marker.write_text(key)


def _bud_and_push(buildah: _Buildah, request: BuildRequest, target: Path) -> None:
    image = normalise_reference(request.tag)
    options = [
        "--layers",
        "--isolation=chroot",
        "--network=host",
        "--pull-never",
        "--format=oci",
        f"--tag={image}",
        f"--file={request.dockerfile}",
        *(f"--build-arg={pair}" for pair in request.build_args),
    ]
    if request.target:
        options.append(f"--target={request.target}")
    with scratch_folder() as scratch:
        for source, place, mode in _list_mounts(scratch):
            options.append(f"--volume={source}:{place}:{mode}")
        buildah.build(image, *options, str(request.context))
    buildah.run("push", "--quiet", "--disable-compression", image, f"oci-archive:{target}:{image}")


def _list_mounts(scratch: Path) -> list[tuple[Path, str, str]]:
    """List what a build step sees of this machine: certificates, pip's settings and cache.

    Mounted, not copied: nothing of it ends up in the image.
    """
    bundle = Path(os.environ.get("SSL_CERT_FILE") or _CA_BUNDLE)
    settings = scratch / "pip.conf"
    host = Path("/etc/pip.conf")
    text = host.read_text() if host.exists() else ""
    settings.write_text(build_pip_config(os.environ, text, _CA_BUNDLE))
    pip_cache = cache_root() / "pip"
    pip_cache.mkdir(parents=True, exist_ok=True)
    mounts = [
        (bundle.resolve(), _CA_BUNDLE, "ro"),
        (settings, "/etc/pip.conf", "ro"),
        (pip_cache, "/root/.cache/pip", "rw"),
    ]
    links = [Path(entry) for entry in os.environ.get("PIP_FIND_LINKS", "").split()]
    return mounts + [(path, str(path), "ro") for path in links if path.is_dir()]
