"""Selection of steps: what is named, and what that needs."""

import pytest

from localnode.ensure import CORE, find_needs, image_step_name, plan_steps, select_steps
from localnode.errors import NodeError
from localnode.versions import load_versions

NAMES = [step.name for step in plan_steps(load_versions())]
NEEDS = find_needs(load_versions())


def test_nothing_named_selects_everything() -> None:
    """Without a choice every step is run."""
    assert select_steps(NAMES, NEEDS, []) == set(NAMES)


def test_an_image_brings_its_binaries() -> None:
    """An image's step is never run before the build it holds."""
    assert select_steps(NAMES, NEEDS, ["image/prometheus"]) == {"image/prometheus", "prometheus"}


def test_core_is_what_a_cluster_needs() -> None:
    """The name 'core' stands for the parts of a bare node."""
    assert select_steps(NAMES, NEEDS, ["core"]) == {*CORE, "pause", "coredns"}


def test_an_unknown_step_is_refused_with_the_choice() -> None:
    """A typing error lists the steps there are."""
    with pytest.raises(NodeError, match="choose from core, packages"):
        select_steps(NAMES, NEEDS, ["kubelettuce"])


def test_every_step_has_an_entry_among_the_needs() -> None:
    """Plan and needs are two views of the same file."""
    assert set(NEEDS) == set(NAMES)


def test_image_step_is_named_by_the_image() -> None:
    """Registry, folder and tag are left out of a step's name."""
    assert image_step_name("quay.io/prometheus/prometheus:v3") == "image/prometheus"
