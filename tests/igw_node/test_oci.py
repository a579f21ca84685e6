"""Image references, and archives written without an image builder."""

import json
import tarfile
from pathlib import Path

import pytest

from localnode.errors import NodeError
from localnode.oci import normalise_reference, read_archive_index, write_archive, write_layer


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("igw/operator:dev", "docker.io/igw/operator:dev"),
        ("quay.io/prometheus/prometheus:v3.10.0", "quay.io/prometheus/prometheus:v3.10.0"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry:5000/a/b:1", "registry:5000/a/b:1"),
        ("registry.k8s.io/pause@sha256:00", "registry.k8s.io/pause@sha256:00"),
    ],
)
def test_reference_is_written_in_full(short: str, full: str) -> None:
    """References mean what they mean to the container runtime."""
    assert normalise_reference(short) == full


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """Write a layer of one program and one folder."""
    program = tmp_path / "program"
    program.write_bytes(b"binary")
    program.chmod(0o755)
    write_layer(tmp_path / "layer.tar", {"/bin/program": program}, ("/data",))
    return tmp_path / "layer.tar"


def test_layer_holds_files_and_writable_folders(layer: Path) -> None:
    """Programs keep their mode; named folders are everybody's."""
    with tarfile.open(layer) as content:
        modes = {entry.name: entry.mode for entry in content}

    assert modes == {"bin": 0o755, "data": 0o777, "bin/program": 0o755}


def test_same_files_give_the_same_archive(tmp_path: Path, layer: Path) -> None:
    """An unchanged image is known to the node by its digest."""
    digests = []
    for name in ("a.tar", "b.tar"):
        write_archive(tmp_path / name, "docker.io/x/y:1", layer, {"User": "0"})
        digests.append(read_archive_index(tmp_path / name)["docker.io/x/y:1"])

    assert digests[0] == digests[1]


def test_archive_carries_its_configuration(tmp_path: Path, layer: Path) -> None:
    """Entry point and user are found where a runtime looks for them."""
    write_archive(tmp_path / "image.tar", "docker.io/x/y:1", layer, {"User": "65534"})

    with tarfile.open(tmp_path / "image.tar") as archive:
        blobs = {entry.name: archive.extractfile(entry) for entry in archive}
        index = json.load(blobs["index.json"])  # type: ignore[arg-type]
        manifest = _blob(archive, index["manifests"][0]["digest"])
        config = _blob(archive, manifest["config"]["digest"])

    assert config["config"] == {"User": "65534"}
    assert len(config["rootfs"]["diff_ids"]) == 1


def _blob(archive: tarfile.TarFile, digest: str) -> dict[str, dict[str, str]]:
    content = archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
    assert content is not None
    result: dict[str, dict[str, str]] = json.load(content)
    return result


def test_no_archive_is_an_error_with_advice(tmp_path: Path) -> None:
    """A file of another kind is refused with the way to make the right one."""
    path = tmp_path / "text"
    path.write_text("no archive")

    with pytest.raises(NodeError, match="not an OCI archive"):
        read_archive_index(path)
