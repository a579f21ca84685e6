"""Writes images as OCI archives without an image builder: a layer, a configuration, an index.

Made for images that are a handful of files, and for the bootstrapped base image.
The layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localnode.errors import NodeError

_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_CHUNK_BYTES = 1 << 20
_NOBODY = 65534


def normalise_reference(reference: str) -> str:
    """Write an image reference in full, as the container runtime and kubelet do."""
    name, at, digest = reference.partition("@")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    if not at and ":" not in name.rpartition("/")[2]:
        name = f"{name}:latest"
    return f"{name}{at}{digest}"


def write_layer(target: Path, files: Mapping[str, Path], directories: tuple[str, ...]) -> None:
    """Write a layer of some files; the same files always give the same layer."""
    parents = {str(parent) for name in files for parent in Path(name).parents}
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as layer:
        for name in sorted(parents | set(directories) - {"/"}):
            if name == "/":
                continue
            entry = tarfile.TarInfo(name.strip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            if name in directories:
                entry.mode, entry.uid, entry.gid = 0o777, _NOBODY, _NOBODY
            layer.addfile(entry)
        for name, source in sorted(files.items()):
            entry = tarfile.TarInfo(name.strip("/"))
            entry.mode, entry.size = source.stat().st_mode & 0o777, source.stat().st_size
            with source.open("rb") as content:
                layer.addfile(entry, content)


def write_archive(target: Path, reference: str, layer: Path, config: Mapping[str, Any]) -> None:
    """Write an image of one layer as an OCI archive that names its reference."""
    layer_digest = _digest_file(layer)
    image = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created_by": "localnode"}],
    }
    image_blob = _encode(image)
    manifest_blob = _encode(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": _describe(_CONFIG_TYPE, image_blob),
            "layers": [
                {
                    "mediaType": _LAYER_TYPE,
                    "digest": layer_digest,
                    "size": layer.stat().st_size,
                }
            ],
        }
    )
    names = {
        "org.opencontainers.image.ref.name": reference,
        "io.containerd.image.name": reference,
    }
    index_blob = _encode(
        {
            "schemaVersion": 2,
            "mediaType": _INDEX_TYPE,
            "manifests": [_describe(_MANIFEST_TYPE, manifest_blob) | {"annotations": names}],
        }
    )
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "oci-layout", _encode({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", index_blob)
        for blob in (image_blob, manifest_blob):
            _add(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        archive.add(layer, f"blobs/sha256/{layer_digest.removeprefix('sha256:')}")


def read_archive_index(path: Path) -> dict[str, str]:
    """Return what an OCI archive holds: reference -> manifest digest."""
    try:
        with tarfile.open(path) as archive:
            content = archive.extractfile("index.json")
            manifests = json.load(content)["manifests"] if content else []
    except (tarfile.TarError, KeyError, ValueError) as error:
        message = f"{path} is not an OCI archive ({error}); make one with 'kind build' or buildah"
        raise NodeError(message) from error
    return {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
        for entry in manifests
        if "org.opencontainers.image.ref.name" in entry.get("annotations", {})
    }


def _encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _describe(media_type: str, blob: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(blob)}


def _digest_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _add(archive: tarfile.TarFile, name: str, blob: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(blob)
    archive.addfile(entry, io.BytesIO(blob))
