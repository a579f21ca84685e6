"""The page of what others suffered, and the tests that it names."""

from __future__ import annotations

import pytest

from harness.pains import PAINS, find_proofs, pains_page
from harness.shell import ROOT

PAGE = ROOT / "docs" / "what-does-not-happen.md"


def test_the_page_is_in_step() -> None:
    """`make generate` was run after the last change of the list or of a mark."""
    assert PAGE.read_text() == pains_page()


def test_marks_and_list_agree() -> None:
    """Each pain has a test, and no mark has a number that nobody can look up."""
    assert list(PAINS) == list(range(1, 16))
    assert set(find_proofs()) == set(PAINS)


@pytest.mark.parametrize("number", PAINS)
def test_a_pain_is_shown_against_a_real_server_where_there_is_one(number: int) -> None:
    """All but those of rules and of the API's size concern what a cluster does."""
    rooms = {proof.file.parts[1] for proof in find_proofs()[number]}
    assert number in {11, 14} or rooms & {"integration", "matrix", "e2e"}


def test_the_page_names_only_tests_that_run() -> None:
    """A mark on something that pytest does not collect would prove nothing."""
    names = {proof.name for proofs in find_proofs().values() for proof in proofs}
    assert [name for name in names if not name.startswith("test_")] == []
