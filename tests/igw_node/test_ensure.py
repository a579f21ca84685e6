"""Selection of steps: what is named, and what that needs."""

import re
from pathlib import Path

import pytest

from igw_operator.api.runtime import DEFAULT_COLLECTOR_IMAGE
from localnode.ensure import (
    find_needs,
    image_step_name,
    list_parts,
    plan_steps,
    select_steps,
)
from localnode.errors import NodeError
from localnode.runtime import PAUSE_IMAGE
from localnode.versions import load_versions

ROOT = Path(__file__).parents[2]
VERSIONS = load_versions()
STEPS = plan_steps(VERSIONS)
NAMES = [step.name for step in STEPS]
NEEDS = find_needs(VERSIONS)
SETS = VERSIONS.sets
BACKENDS = ROOT / "tests" / "harness" / "follow-backends"
# What the demo applies, besides the collector that the operator makes.
DEMO_MANIFESTS = ("tests/node/addons", "manifests/monitoring", "manifests/overlays/demo")


def test_a_node_is_made_of_everything_but_what_is_made_on_demand() -> None:
    """Without a choice every step is run, unless only some who name it want what it makes."""
    on_demand = {tool.name for tool in VERSIONS.tools.values() if tool.on_demand}
    held = {name for name, needed in NEEDS.items() if needed & on_demand}

    made = select_steps(NEEDS, list_parts(VERSIONS), SETS)

    assert on_demand
    assert held == {"image/all-in-one", "image/loki"}
    assert made == set(NAMES) - on_demand - held


def test_a_set_brings_what_is_made_on_demand() -> None:
    """Who names it gets it."""
    assert select_steps(NEEDS, ["bench"], SETS) == {"rule-replay", "sloth"}
    follow = {"image/all-in-one", "jaeger", "image/loki", "loki"}
    assert select_steps(NEEDS, ["follow"], SETS) == follow


def test_an_image_brings_its_binaries() -> None:
    """An image's step is never run before the build it holds."""
    assert select_steps(NEEDS, ["image/prometheus"], SETS) == {"image/prometheus", "prometheus"}


def test_core_is_what_a_cluster_needs() -> None:
    """A set stands for its members and what they are made of."""
    assert select_steps(NEEDS, ["core"], SETS) == {*SETS["core"], "pause", "coredns"}


def test_sets_may_hold_sets() -> None:
    """A part that several sets have is written down once."""
    sets = {"small": ["etcd"], "large": ["small", "pause"]}

    assert select_steps(NEEDS, ["large"], sets) == {"etcd", "pause"}


def test_every_set_can_be_made_and_no_part_is_called_like_one() -> None:
    """A member that is misspelt would fail only on the machine that needs it."""
    for name in SETS:
        assert select_steps(NEEDS, [name], SETS)
    assert not SETS.keys() & NEEDS.keys()


def test_the_demo_makes_the_images_that_it_runs_and_no_others() -> None:
    """What only tests need would keep a newcomer waiting; what is missing would fail the demo."""
    texts = [path.read_text() for it in DEMO_MANIFESTS for path in (ROOT / it).rglob("*.yaml")]
    everything = "\n".join([*texts, DEFAULT_COLLECTOR_IMAGE, PAUSE_IMAGE])
    run = {it.reference for it in VERSIONS.images if it.reference in everything}
    bases = {it.reference for it in VERSIONS.base_images}

    made = select_steps(NEEDS, ["demo"], SETS)

    wanted = {image_step_name(reference) for reference in run | bases}
    assert {name for name in made if name.startswith("image/")} == wanted


def test_the_first_demo_builds_for_less_than_half_an_hour() -> None:
    """With the two images and the demo itself it has to stay below 40 minutes on 2 cores."""
    made = select_steps(NEEDS, ["demo"], SETS)

    assert sum(step.seconds for step in STEPS if step.name in made) < 30 * 60


def test_a_request_is_followed_through_images_that_are_made() -> None:
    """Their versions stand in two places."""
    texts = [path.read_text() for path in sorted(BACKENDS.glob("*.yaml"))]
    run = set(re.findall(r"image: (\S+)", "\n".join(texts)))
    made = select_steps(NEEDS, [*list_parts(VERSIONS), "follow"], SETS)

    assert len(run) == 3
    assert run <= {it.reference for it in VERSIONS.images}
    assert {image_step_name(reference) for reference in run} <= made


def test_an_unknown_step_is_refused_with_the_choice() -> None:
    """A typing error lists the steps there are."""
    with pytest.raises(NodeError, match="choose from core, demo, integration, bench, follow"):
        select_steps(NEEDS, ["kubelettuce"], SETS)


def test_every_step_has_an_entry_among_the_needs() -> None:
    """Plan and needs are two views of the same file."""
    assert set(NEEDS) == set(NAMES)


def test_image_step_is_named_by_the_image() -> None:
    """Registry, folder and tag are left out of a step's name."""
    assert image_step_name("quay.io/prometheus/prometheus:v3") == "image/prometheus"
