"""Layers worth keeping: those of the last builds of every image that has a name."""

from pathlib import Path

import pytest

from localnode.layers import LayerRecord, find_unused, note_layer, shorten

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


@pytest.mark.parametrize("line", [f"--> Using cache {A}", f"--> {A[:11]}", A])
def test_layers_are_read_from_what_buildah_prints(line: str) -> None:
    """The three ways in which buildah 1.28 names what it made or used."""
    used: list[str] = []

    assert note_layer(line, used)

    assert A.startswith(used[0])


@pytest.mark.parametrize("line", ["[1/2] COMMIT igw.dev/a:1", "Collecting numpy==2.3", "--> "])
def test_other_lines_are_for_people(line: str) -> None:
    """What pip or a failing step says is shown."""
    used: list[str] = []

    assert not note_layer(line, used)

    assert used == []


def test_a_long_instruction_is_one_line_and_output_stays_whole() -> None:
    """Steps tell how far it is; an error message must not be cut."""
    assert shorten("[1/2] STEP 2/7: RUN a   && b") == "[1/2] STEP 2/7: RUN a && b"
    assert len(shorten("STEP 2/7: RUN " + "x" * 500)) <= 100
    assert shorten("error: " + "x" * 500) == "error: " + "x" * 500


def test_stages_of_a_noted_build_stay_and_what_no_build_used_goes() -> None:
    """A stage has no name and no child, and is what makes the next build fast."""
    images = [f"sha256:{A}   igw.dev/a:1", *(f"sha256:{it}   <none>:<none>" for it in (B, C))]

    assert find_unused(images, {"igw.dev/a:1": [[A, B[:11]]]}, ()) == [C]


def test_nothing_goes_that_is_older_than_an_image_whose_build_nobody_saw() -> None:
    """Its layers are among those; what was made later cannot be one."""
    images = [
        f"sha256:{A} <none>:<none>",
        f"sha256:{B} igw.dev/b:1",
        f"sha256:{C} <none>:<none>",
        f"sha256:{D} docker.io/library/python:3",
    ]
    bases = {"docker.io/library/python:3"}

    assert find_unused(images, {}, bases) == [A]
    assert find_unused(images, {"igw.dev/b:1": [[B]]}, bases) == [A, C]


def test_the_last_three_builds_of_a_tag_are_noted(tmp_path: Path) -> None:
    """Two branches built in turns stay fast; the same build again displaces none."""
    record = LayerRecord(tmp_path / "layers.json")
    for used in ([A], [B], [C], [D], [C]):
        record.add("a:1", used)
    record.add("b:1", [A])
    record.add("b:1", [])  # it failed before its first step

    assert record.builds() == {"a:1": [[C], [D], [B]], "b:1": [[A]]}
