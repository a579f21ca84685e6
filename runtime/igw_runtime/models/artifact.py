"""Finding, verifying and reading a model package: a folder, or an archive of one.

A package is `model.json`, `labels.txt`, a golden image, and the weights of its formats
(`model.xml` + `model.bin`, `model.pt`, `model.ts`, `model.pt2`). An archive (tar, tar.gz, zip) is
read into memory and never unpacked, so the file system may be read-only and member paths mean
nothing.

The digest that settings may pin covers everything that is read: labels and preprocessing decide
an answer as much as weights do (`build_digest`).
"""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from igw_runtime.errors import (
    ModelDigestMismatchError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.models.labels import Labels, parse_labels
from igw_runtime.models.manifest import PROGRAMS, Format, Manifest
from igw_runtime.settings import ModelSettings

MANIFEST_FILE: Final = "model.json"
WEIGHTS_FILES: Final[Mapping[Format, str]] = {
    "openvino": "model.bin",
    "torch": "model.pt",
    "torchscript": "model.ts",
    "exported": "model.pt2",
}
TOPOLOGY_FILE: Final = "model.xml"
_MAX_ARCHIVE_BYTES: Final = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackage:
    """A package whose manifest was read; its weights are only read by an engine."""

    location: Path
    manifest: Manifest
    labels: Labels
    members: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def archived(self) -> bool:
        """Tell whether the files are in memory rather than in a folder."""
        return bool(self.members)

    @property
    def files(self) -> Sequence[str]:
        """Return the names of all files that the package is made of, sorted."""
        manifest = self.manifest
        names = {MANIFEST_FILE, manifest.labels, manifest.golden.image}
        names |= {WEIGHTS_FILES[each] for each in manifest.formats}
        if "openvino" in manifest.formats:
            names.add(TOPOLOGY_FILE)
        return sorted(names)

    def read(self, name: str) -> bytes:
        """Return the content of one file."""
        if self.archived:
            return _get_member(self.members, name, self.location)
        return _read_file(self.location / name)

    def read_golden_image(self) -> bytes:
        """Return the golden image, whose answer the manifest states."""
        return self.read(self.manifest.golden.image)


def locate_package(settings: ModelSettings, models_root: Path) -> Path:
    """Return where the package is: named by uri, or built into the image by name."""
    if settings.uri:
        path = Path(unquote(urlsplit(settings.uri).path))
        if not path.exists():
            message = f"model.uri points to {path}, which does not exist"
            raise ModelNotFoundError(message)
        return path
    path = models_root / settings.name
    if not (path / MANIFEST_FILE).is_file():
        available = sorted(found.parent.name for found in models_root.glob(f"*/{MANIFEST_FILE}"))
        message = (
            f"no model {settings.name!r} in {models_root}; "
            f"this image has: {', '.join(available) or 'none'}"
        )
        raise ModelNotFoundError(message)
    return path


def read_package(location: Path) -> ModelPackage:
    """Read the package's manifest and labels."""
    members = {} if location.is_dir() else _read_archive(location)
    if members:
        content = _get_member(members, MANIFEST_FILE, location)
    else:
        content = _read_file(location / MANIFEST_FILE)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "(the file)"
        message = f"{location}/{MANIFEST_FILE}: {path}: {first['msg']}"
        raise ModelLoadFailedError(message) from error
    package = ModelPackage(location=location, manifest=manifest, labels=Labels(()), members=members)
    labels = parse_labels(package.read(manifest.labels).decode("utf-8", errors="replace"))
    return ModelPackage(location=location, manifest=manifest, labels=labels, members=members)


def build_digest(package: ModelPackage) -> str:
    """Return the digest that settings may pin (sha256, hexadecimal).

    That of an archive is the file's own. That of a folder is the digest of what `sha256sum`
    prints for the package's files in the order of their names: each of them changes it, and
    what else lies on the volume does not.
    """
    if package.archived:
        return hash_file(package.location)
    lines = [f"{hash_file(package.location / name)}  {name}\n" for name in package.files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def verify_digest(package: ModelPackage, expected: str) -> None:
    """Compare the pinned digest, if there is one, before anything is loaded."""
    if not expected:
        return
    actual = build_digest(package)
    if actual == expected:
        return
    message = f"{package.location} has sha256 {actual}, the settings pin {expected}"
    weights = [name for name in package.files if name in WEIGHTS_FILES.values()]
    for name in weights if not package.archived else ():
        if hash_file(package.location / name) == expected:
            message += f", which is that of {name} alone; pin the whole package's"
    raise ModelDigestMismatchError(message)


def check_program(chosen: Format, settings: ModelSettings) -> None:
    """Refuse code from outside the image that nobody has pinned.

    torch says of both kinds that they are programs; it reads them with pickle and with `eval`, and
    a file that was made for it does what its maker likes. `verify_digest` has compared the pin.
    """
    if chosen in PROGRAMS and settings.uri and not settings.sha256:
        message = (
            f"{WEIGHTS_FILES[chosen]} is a program, and runs as one: model.sha256 has to pin the "
            "package that it is in"
        )
        raise ModelLoadFailedError(message)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's content."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ModelNotFoundError(message) from error


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ModelNotFoundError(message) from error


def _get_member(members: Mapping[str, bytes], name: str, location: Path) -> bytes:
    if name not in members:
        message = f"{location} has no {name}"
        raise ModelNotFoundError(message)
    return members[name]


def _read_archive(path: Path) -> dict[str, bytes]:
    content = _read_file(path)
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return _read_zip(content)
        return _read_tar(content)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        message = f"{path} is neither a folder nor a tar or zip archive: {error}"
        raise ModelLoadFailedError(message) from error


def _read_zip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        _check_size(sum(entry.file_size for entry in entries))
        return {PurePosixPath(entry.filename).name: archive.read(entry) for entry in entries}


def _read_tar(content: bytes) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    total = 0
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as archive:
        for entry in archive:
            total += entry.size
            _check_size(total)
            stream = archive.extractfile(entry) if entry.isfile() else None
            if stream is not None:
                members[PurePosixPath(entry.name).name] = stream.read()
    return members


def _check_size(total: int) -> None:
    if total > _MAX_ARCHIVE_BYTES:
        message = f"more than {_MAX_ARCHIVE_BYTES} bytes unpacked"
        raise ValueError(message)
