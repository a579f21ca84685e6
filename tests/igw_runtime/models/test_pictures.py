import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest

from igw_runtime.errors import InvalidPicturesError
from igw_runtime.models.pictures import check_disjoint, list_pictures
from runtime_kit.colours import BLUE, GREEN, NAMES, PREPROCESSING, RED, picture

COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a picture of each colour, in a folder with the colour's name."""
    for name, colour in COLOURS.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.png").write_bytes(picture(colour))
    (tmp_path / "set" / "notes.md").write_text("no picture")
    return tmp_path / "set"


def test_folders_with_names_of_classes_label_their_pictures(folder: Path) -> None:
    """The layout that torchvision's ImageFolder reads."""
    found = list_pictures(folder, NAMES)

    assert [(it.path.parent.name, it.truth) for it in found.pictures] == [
        ("blue", 2),
        ("green", 1),
        ("red", 0),
    ]


def test_other_folders_label_nothing(folder: Path) -> None:
    """Pictures may lie in folders for other reasons."""
    found = list_pictures(folder, ["cat", "dog"])

    assert [it.truth for it in found.pictures] == [None, None, None]


@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        (["red", "green"], "'blue' is no class of the model"),
        (["red", "green", "blue", "blue"], "'blue' names several classes"),
    ],
)
def test_a_folder_that_fits_no_class_is_no_silent_gap(
    folder: Path, classes: list[str], fault: str
) -> None:
    """Its pictures would be missing from the accuracy."""
    with pytest.raises(InvalidPicturesError, match=fault):
        list_pictures(folder, classes)


def test_val_map_labels_by_index(folder: Path) -> None:
    """MLPerf's file; it may leave pictures out, and comes before the names of folders."""
    (folder / "val_map.txt").write_text("red/a.png 3\n\nblue/a.png 0\n")

    assert [it.truth for it in list_pictures(folder, NAMES).pictures] == [0, None, 3]


@pytest.mark.parametrize("line", ["red/a.png 4", "red/a.png -1", "red/b.png 1", "red/a.png", "1"])
def test_val_map_is_checked_line_by_line(folder: Path, line: str) -> None:
    """A class that does not exist, or a picture that does not, is a mistake somewhere."""
    (folder / "val_map.txt").write_text(f"red/a.png 0\n{line}\n")

    with pytest.raises(InvalidPicturesError, match=r"val_map.txt, line 2: .* one of 4 classes"):
        list_pictures(folder, NAMES)


def test_folder_without_pictures_says_what_would_be_one(tmp_path: Path) -> None:
    """A path that is wrong is not an empty set."""
    with pytest.raises(InvalidPicturesError, match=r"has no pictures \(.gif, .jpeg, .jpg"):
        list_pictures(tmp_path / "nowhere", NAMES)


def test_digest_is_that_of_what_sha256sum_prints(folder: Path) -> None:
    """People can compare it without this program."""
    names = ["blue/a.png", "green/a.png", "red/a.png"]
    printed = subprocess.run(["sha256sum", *names], cwd=folder, check=True, capture_output=True)

    described = list_pictures(folder, NAMES).describe()

    assert described.sha256 == hashlib.sha256(printed.stdout).hexdigest()
    assert described.count == 3


def test_pictures_are_spread_over_the_folder(tmp_path: Path) -> None:
    """Names begin with the class: the first so many would be of one."""
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(picture((number, 0, 0)))
    found = list_pictures(tmp_path, NAMES)

    assert [it.path.stem for it in found.spread(4).pictures] == ["0", "2", "5", "7"]
    assert found.spread(10) == found


def test_pictures_are_preprocessed_as_requests_are(folder: Path) -> None:
    """One batch of one after the other, in the order of their names."""
    tensors = list(list_pictures(folder, NAMES).read(PREPROCESSING))

    assert {tensor.shape for tensor in tensors} == {(1, 3, 32, 32)}
    np.testing.assert_array_equal(
        [tensor[0].mean(axis=(1, 2)) for tensor in tensors], np.eye(3)[::-1]
    )


def test_broken_picture_is_named(folder: Path) -> None:
    """It is not left out: the set would be another one than its digest says."""
    (folder / "red" / "b.png").write_bytes(picture(RED)[:40])

    with pytest.raises(InvalidPicturesError, match=r"red/b\.png: "):
        list(list_pictures(folder, NAMES).read(PREPROCESSING))


def test_nothing_is_judged_by_what_it_was_made_with(folder: Path, tmp_path: Path) -> None:
    """The same picture under another name is the same picture."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.png").write_bytes(picture((1, 2, 3)))
    check_disjoint(list_pictures(folder, NAMES), list_pictures(other, NAMES))
    (other / "copy.png").write_bytes(picture(GREEN))

    with pytest.raises(InvalidPicturesError, match=r"1 .*/other/copy.png, which is .*green/a.png"):
        check_disjoint(list_pictures(folder, NAMES), list_pictures(other, NAMES))
