from __future__ import annotations

from typing import Any

import pytest

from igw_operator.plan.prune import prune


@pytest.mark.parametrize(
    ("value", "pruned"),
    [
        ({"a": None, "b": {}, "c": [], "d": ""}, {"d": ""}),
        ({"a": {"b": {"c": None}}}, {}),
        ({"replicas": 0, "readOnly": False}, {"replicas": 0, "readOnly": False}),
        ({"ingress": [{}]}, {"ingress": [{}]}),
        ({"ingress": [{"from": []}]}, {"ingress": [{}]}),
        ({"a": ({"b": None},)}, {"a": [{}]}),
    ],
    ids=[
        "what says nothing",
        "what says nothing once it is pruned",
        "zero and false say something",
        "an empty rule allows everything",
        "elements stay when they get empty",
        "tuples become lists",
    ],
)
def test_removes_only_what_says_nothing(value: Any, pruned: Any) -> None:
    """Empties that mean nothing go, those that mean something stay."""
    assert prune(value) == pruned


@pytest.mark.parametrize("key", ["emptyDir", "labelSelector", "namespaceSelector", "podSelector"])
def test_keeps_empties_that_speak(key: str) -> None:
    """An empty selector matches everything, no selector nothing."""
    assert prune({key: {}}) == {key: {}}
    assert prune({key: {"matchLabels": {}}}) == {key: {}}


def test_leaves_another_programs_document_alone() -> None:
    """In a collector's configuration, an empty part is a part with its defaults."""
    config = {"processors": {"batch": {}}, "service": {"extensions": []}}
    assert prune({"spec": {"config": config}}) == {"spec": {"config": config}}


def test_does_not_keep_an_empty_node_selector() -> None:
    """A nodeSelector is a plain map: empty, it is the same as none."""
    assert prune({"nodeSelector": {}}) == {}


def test_leaves_its_input_alone() -> None:
    """What is pruned is a copy."""
    value = {"a": {"b": None}}
    prune(value)
    assert value == {"a": {"b": None}}
