import hashlib
import json
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from igw_runtime.__main__ import main
from igw_runtime.errors import (
    ModelDigestMismatchError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.models.artifact import (
    build_digest,
    check_program,
    locate_package,
    read_package,
    verify_digest,
)
from igw_runtime.settings import ModelSettings
from runtime_kit.colours import NAMES, build_manifest


def a_model(**fields: Any) -> ModelSettings:
    """Return model settings."""
    return ModelSettings.model_validate({"name": "colours", **fields})


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Write a package without a network."""
    folder = tmp_path / "models" / "colours"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(build_manifest().model_dump_json())
    (folder / "labels.txt").write_text("\n".join(NAMES))
    (folder / "model.xml").write_bytes(b"topology")
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "golden.png").write_bytes(b"image")
    return folder


def as_tar(folder: Path) -> Path:
    """Pack a folder as tar.gz, under a folder inside."""
    path = folder.parent / "model.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="anything/colours")
    return path


def as_zip(folder: Path) -> Path:
    """Pack a folder as zip."""
    path = folder.parent / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path


def test_model_is_found_by_name(package: Path) -> None:
    """An empty uri means: built into the image."""
    assert package == locate_package(a_model(), package.parent)


def test_missing_model_lists_what_there_is(package: Path) -> None:
    """A typo is answered with the names that would have worked."""
    with pytest.raises(ModelNotFoundError, match=r"no model 'colour' in .*has: colours"):
        locate_package(a_model(name="colour"), package.parent)


def test_uri_names_a_path(package: Path) -> None:
    """A volume mount is reached through file://, spaces and all."""
    spaced = package.parent / "with space"
    shutil.copytree(package, spaced)
    uri = f"file://{spaced}".replace(" ", "%20")

    assert spaced == locate_package(a_model(uri=uri), Path("/nowhere"))
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        locate_package(a_model(uri="file:///nowhere/at/all"), package.parent)


@pytest.mark.parametrize("pack", [lambda folder: folder, as_tar, as_zip])
def test_folder_and_archives_read_the_same(package: Path, pack: Any) -> None:
    """A package is a folder or an archive of one."""
    read = read_package(pack(package))

    assert read.manifest.name == "colours"
    assert read.labels.names == NAMES
    assert read.read("model.bin") == b"weights"
    assert read.read_golden_image() == b"image"
    with pytest.raises(ModelNotFoundError):
        read.read("absent")


FILES = ["golden.png", "labels.txt", "model.bin", "model.json", "model.xml"]


def test_digest_of_a_folder_is_that_of_what_sha256sum_prints(package: Path) -> None:
    """People can make it, and compare it, without this program."""
    printed = subprocess.run(
        ["sha256sum", *FILES], cwd=package, check=True, capture_output=True
    ).stdout
    digest = hashlib.sha256(printed).hexdigest()

    assert build_digest(read_package(package)) == digest
    verify_digest(read_package(package), digest)
    verify_digest(read_package(package), "")
    with pytest.raises(ModelDigestMismatchError, match=f"has sha256 {digest}.* pin 000"):
        verify_digest(read_package(package), "0" * 64)


@pytest.mark.parametrize("name", FILES)
def test_each_file_of_a_package_is_pinned(package: Path, name: str) -> None:
    """Labels and preprocessing decide what is answered, as the weights do."""
    digest = build_digest(read_package(package))
    path = package / name
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(ModelDigestMismatchError):
        verify_digest(read_package(package), digest)


def test_what_lies_beside_a_package_is_not_pinned(package: Path) -> None:
    """A volume has files of its own."""
    digest = build_digest(read_package(package))
    (package / "lost+found").mkdir()
    (package / "notes.txt").write_text("trained on a Sunday")

    verify_digest(read_package(package), digest)


def test_digest_of_the_weights_alone_is_explained(package: Path) -> None:
    """Who pinned what was asked for once reads what to pin instead."""
    read = read_package(package)
    weights = hashlib.sha256(b"weights").hexdigest()

    with pytest.raises(ModelDigestMismatchError) as caught:
        verify_digest(read, weights)
    assert build_digest(read) in str(caught.value)
    assert str(caught.value).endswith("that of model.bin alone; pin the whole package's")


def test_file_that_is_missing_fails_the_check(package: Path) -> None:
    """A package that was copied in part has no digest."""
    (package / "model.xml").unlink()

    with pytest.raises(ModelNotFoundError, match=r"model\.xml"):
        verify_digest(read_package(package), "0" * 64)


def test_digest_is_printed_by_a_command(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m igw_runtime digest FOLDER`."""
    monkeypatch.setattr("os._exit", lambda _: None)
    main(["digest", str(package)])

    assert capsys.readouterr().out == build_digest(read_package(package)) + "\n"


def test_digest_of_an_archive_is_that_of_the_file(package: Path) -> None:
    """What was downloaded can be checked with sha256sum."""
    archive = as_tar(package)

    verify_digest(read_package(archive), hashlib.sha256(archive.read_bytes()).hexdigest())
    with pytest.raises(ModelDigestMismatchError):
        verify_digest(read_package(archive), "0" * 64)


def test_broken_manifest_is_explained(package: Path) -> None:
    """A hand-written model.json is corrected by its key."""
    manifest = json.loads((package / "model.json").read_text())
    manifest["preprocessing"]["crop"] = "224"
    (package / "model.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelLoadFailedError, match=r"preprocessing\.crop"):
        read_package(package)


def test_what_is_no_archive_is_explained(tmp_path: Path) -> None:
    """A file of another kind is named, not traced."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 600)

    with pytest.raises(ModelLoadFailedError, match="neither a folder nor a tar or zip"):
        read_package(path)


@pytest.mark.parametrize("chosen", ["exported", "torchscript"])
def test_code_from_outside_the_image_has_to_be_pinned(chosen: Any) -> None:
    """Whoever may write to a volume would otherwise run code in the pods."""
    volume = "file:///models/pets"
    with pytest.raises(ModelLoadFailedError, match=r"is a program, .* model.sha256 has to pin"):
        check_program(chosen, a_model(uri=volume))
    check_program(chosen, a_model(uri=volume, sha256="0" * 64))
    check_program(chosen, a_model())


@pytest.mark.parametrize("chosen", ["openvino", "torch"])
def test_numbers_need_no_pin(chosen: Any) -> None:
    """They are read by what can only read numbers."""
    check_program(chosen, a_model(uri="file:///models/pets"))
