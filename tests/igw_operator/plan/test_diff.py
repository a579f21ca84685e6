from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import a_gateway, gateway_manifest
from igw_operator import conventions
from igw_operator.api.objects import Manifest, parse_gateway
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import Reason, diff, is_foreign, restamp, stamp
from plan_kit.children import an_input

GATEWAY = a_gateway()
CHILDREN = [stamp(child, GATEWAY) for child in build_children(an_input())]
DEPLOYMENT = next(child for child in CHILDREN if child["kind"] == "Deployment")


def config(**data: str) -> Manifest:
    """A small child."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "demo"},
        "data": data,
    }


def test_a_stamp_is_made_once_and_renewed_on_demand() -> None:
    """What is stamped stays as it is; what was changed afterwards gets a stamp of its own."""
    stamped = stamp(config(a="1"), GATEWAY)
    assert stamp(stamped, GATEWAY) is stamped
    changed = {**stamped, "data": {"a": "2"}}
    assert restamp(changed, GATEWAY) == stamp(config(a="2"), GATEWAY)


def test_stamps_identity_on_a_child() -> None:
    """Owner, standard labels and the hash of it all are on what is applied."""
    stamped = stamp(config(a="1"), GATEWAY)
    metadata = stamped["metadata"]
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "inference.igw.dev/v1alpha1",
            "kind": "InferenceGateway",
            "name": "photos",
            "uid": "uid-demo-photos",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert metadata["labels"] == {
        "app.kubernetes.io/part-of": "inference-gateway",
        "app.kubernetes.io/managed-by": "igw-operator",
        "inference.igw.dev/gateway": "photos",
    }
    assert conventions.ANNOTATION_APPLIED_HASH in metadata["annotations"]


def test_keeps_annotations_and_prunes_what_says_nothing() -> None:
    """A user's annotation stays beside the hash; an empty map does not reach the API."""
    child = config() | {"immutable": None}
    child["metadata"]["annotations"] = {"mine": "yes"}
    stamped = stamp(child, GATEWAY)
    assert stamped["metadata"]["annotations"]["mine"] == "yes"
    assert not {"data", "immutable"} & stamped.keys()


def test_leaves_what_it_stamps_alone() -> None:
    """The stamped object is a new one."""
    child = config(a="1")
    before = deepcopy(child)
    stamp(child, GATEWAY)
    assert child == before


def test_gives_no_owner_without_a_uid() -> None:
    """A gateway from a file has no uid: a made-up one would delete the child as an orphan."""
    stamped = stamp(config(a="1"), parse_gateway(gateway_manifest()))
    assert "ownerReferences" not in stamped["metadata"]


def test_creates_what_is_not_there() -> None:
    """Without a live object there is nothing to compare."""
    found = diff(DEPLOYMENT, None, GATEWAY.uid)
    assert (bool(found), found.reason) == (True, Reason.CREATE)


@pytest.mark.parametrize(
    "child", CHILDREN, ids=[f"{child['kind']} {child['metadata']['name']}" for child in CHILDREN]
)
def test_is_content_with_what_it_applied(child: Manifest) -> None:
    """An object as it was applied needs no second apply."""
    assert not diff(child, deepcopy(child), GATEWAY.uid)


def test_sees_that_something_else_is_desired() -> None:
    """Another spec is another hash; the paths say what changes."""
    found = diff(stamp(config(a="2"), GATEWAY), stamp(config(a="1"), GATEWAY), GATEWAY.uid)
    assert found.reason is Reason.SPEC
    assert "data.a" in found.paths


def test_sees_that_something_is_no_longer_desired() -> None:
    """A removed field is in no subset; only the hash tells."""
    desired = stamp(config(a="1"), GATEWAY)
    found = diff(desired, stamp(config(a="1", b="2"), GATEWAY), GATEWAY.uid)
    assert found.reason is Reason.SPEC
    assert found.paths == ("metadata.annotations.inference.igw.dev/applied-hash",)


def test_sees_that_somebody_changed_the_object() -> None:
    """The same hash with another value is drift."""
    desired = stamp(config(a="1"), GATEWAY)
    live = deepcopy(desired)
    live["data"]["a"] = "edited"
    found = diff(desired, live, GATEWAY.uid)
    assert (found.reason, found.paths) == (Reason.DRIFT, ("data.a",))


@pytest.mark.parametrize(
    "owners",
    [None, [], [{"uid": "uid-demo-photos"}], [{"uid": "other", "controller": True}]],
    ids=["stripped", "empty", "no controller", "another's"],
)
def test_sees_that_the_owner_is_gone(owners: Any) -> None:
    """Without its owner an object would outlive the gateway."""
    desired = stamp(config(a="1"), GATEWAY)
    live = deepcopy(desired)
    live["metadata"]["ownerReferences"] = owners
    found = diff(desired, live, GATEWAY.uid)
    assert found.reason is Reason.DRIFT
    assert any(path.startswith("metadata.ownerReferences") for path in found.paths)


def test_sees_a_stripped_hash_as_drift() -> None:
    """Who removes our annotation changed the object; nobody desired something else."""
    desired = stamp(config(a="1"), GATEWAY)
    live = deepcopy(desired)
    del live["metadata"]["annotations"]
    assert diff(desired, live, GATEWAY.uid).reason is Reason.DRIFT


def test_does_not_mind_what_others_add() -> None:
    """A rollout annotation, a status, managed fields: none of them is ours to remove."""
    live = deepcopy(DEPLOYMENT)
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    live["metadata"]["managedFields"] = [{}]
    live["status"] = {"replicas": 1}
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    live["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = "/dev/x"
    assert not diff(DEPLOYMENT, live, GATEWAY.uid)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each scalar in an object."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


LEAVES = [(number, leaf) for number, child in enumerate(CHILDREN) for leaf in leaves(child)]


@given(st.sampled_from(LEAVES))
def test_sees_any_changed_leaf(where: tuple[int, tuple[Any, ...]]) -> None:
    """Whatever single value somebody changes in any child, it is seen."""
    number, path = where
    live = deepcopy(CHILDREN[number])
    at: Any = live
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = "changed by hand"
    assert diff(CHILDREN[number], live, GATEWAY.uid)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_is_content_with_any_object_it_stamped(value: Any) -> None:
    """No shape of an object makes it apply for ever."""
    stamped = stamp(config() | {"spec": value}, GATEWAY)
    assert not diff(stamped, deepcopy(stamped), GATEWAY.uid)
    assert stamp(config() | {"spec": value}, GATEWAY) == stamped


MARKS = {
    "labels": {conventions.LABEL_MANAGED_BY: conventions.MANAGED_BY},
    "annotations": {conventions.ANNOTATION_APPLIED_HASH: "x"},
}
STRANGERS: dict[str, tuple[dict[str, Any], bool]] = {
    "ours": ({"ownerReferences": [{"uid": "u", "controller": True}]}, False),
    "another gateway's": ({"ownerReferences": [{"uid": "v", "controller": True}]}, True),
    "ours of a former life": (
        MARKS | {"ownerReferences": [{"uid": "old", "controller": True}]},
        True,
    ),
    "somebody's own": ({}, True),
    "stripped of its owner": (MARKS, False),
    "labelled by hand": ({"labels": MARKS["labels"]}, True),
}


@pytest.mark.parametrize(("metadata", "foreign"), STRANGERS.values(), ids=STRANGERS)
def test_knows_whose_an_object_is(metadata: dict[str, Any], foreign: bool) -> None:
    """Only what is ours, or was made by us and belongs to nobody, may be touched."""
    assert is_foreign({"metadata": metadata}, "u") is foreign
