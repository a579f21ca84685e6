from __future__ import annotations

from typing import Any

import pytest

from igw_operator.plan.subset import find_misses


def misses(desired: dict[str, Any], live: dict[str, Any]) -> list[str]:
    """The paths that are missing."""
    return list(find_misses(desired, live))


def in_pod(field: str, value: Any) -> dict[str, Any]:
    """A Deployment with one field of its pod's spec."""
    return {"spec": {"template": {"spec": {field: value}}}}


def in_container(**fields: Any) -> dict[str, Any]:
    """A Deployment with one container."""
    return in_pod("containers", [{"name": "runtime", **fields}])


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a default was added": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {}}),
    "cpu in another form": (
        in_container(resources={"limits": {"cpu": "1000m"}}),
        in_container(resources={"limits": {"cpu": "1"}}),
    ),
    "an extended resource": (
        in_container(resources={"limits": {"nvidia.com/gpu": 1}}),
        in_container(resources={"limits": {"nvidia.com/gpu": "1"}}),
    ),
    "a target in another form": (
        {"spec": {"metrics": [{"pods": {"target": {"averageValue": "1000"}}}]}},
        {"spec": {"metrics": [{"pods": {"target": {"averageValue": "1k"}}}]}},
    ),
    "a size in another form": (
        in_pod("volumes", [{"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}}]),
        in_pod("volumes", [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]),
    ),
    "an int that is a string": (
        {"spec": {"maxUnavailable": "1"}},
        {"spec": {"maxUnavailable": 1}},
    ),
    "keyed elements in another order, with others between": (
        in_container(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
        in_container(env=[{"name": "B", "value": "2"}, {"name": "X"}, {"name": "A", "value": "1"}]),
    ),
    "a sidecar was injected": (
        in_container(image="i"),
        in_pod("containers", [{"name": "mesh"}, {"name": "runtime", "image": "i"}]),
    ),
    "a port with its protocol defaulted": (
        {"spec": {"ports": [{"port": 80}]}},
        {"spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}]}},
    ),
    "an atomic element with a default": (
        {"spec": {"ingress": [{"ports": [{"port": 1}]}]}},
        {"spec": {"ingress": [{"ports": [{"port": 1, "protocol": "TCP"}]}]}},
    ),
    "an empty string of the API's own": (
        in_pod("tolerations", [{"key": "a", "value": ""}]),
        in_pod("tolerations", [{"key": "a"}]),
    ),
}

OTHER: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "a value": ({"spec": {"a": 1}}, {"spec": {"a": 2}}, ["spec.a"]),
    "a missing field": ({"spec": {"a": {"b": 1}}}, {"spec": {}}, ["spec.a"]),
    "false is not missing": (
        in_container(securityContext={"allowPrivilegeEscalation": False}),
        in_container(securityContext={}),
        [
            "spec.template.spec.containers[runtime].securityContext.allowPrivilegeEscalation",
        ],
    ),
    "true is not one": ({"spec": {"a": True}}, {"spec": {"a": 1}}, ["spec.a"]),
    "one is not true": ({"spec": {"a": 1}}, {"spec": {"a": True}}, ["spec.a"]),
    "no object": ({"spec": {"a": {"b": 1}}}, {"spec": {"a": "x"}}, ["spec.a"]),
    "no list": ({"spec": {"a": [1]}}, {"spec": {"a": None}}, ["spec.a"]),
    "no scalar": ({"spec": {"a": "x"}}, {"spec": {"a": ["x"]}}, ["spec.a"]),
    "a longer atomic list": (
        {"spec": {"ingress": [{}]}},
        {"spec": {"ingress": [{}, {}]}},
        ["spec.ingress"],
    ),
    "an element of an atomic list": (
        {"spec": {"ingress": [{"a": 1}, {"a": 2}]}},
        {"spec": {"ingress": [{"a": 1}, {"a": 3}]}},
        ["spec.ingress[1].a"],
    ),
    "a keyed element": (
        in_container(env=[{"name": "A", "value": "1"}]),
        in_container(env=[{"name": "B"}]),
        ["spec.template.spec.containers[runtime].env[A]"],
    ),
    "a port of another protocol": (
        {"spec": {"ports": [{"port": 53, "protocol": "UDP"}]}},
        {"spec": {"ports": [{"port": 53}]}},
        ["spec.ports[53,UDP]"],
    ),
    "another quantity": (
        in_container(resources={"limits": {"cpu": "1"}}),
        in_container(resources={"limits": {"cpu": "1100m"}}),
        ["spec.template.spec.containers[runtime].resources.limits.cpu"],
    ),
    "no quantity at all": (
        in_container(resources={"limits": {"cpu": "1"}}),
        in_container(resources={"limits": {"cpu": "x"}}),
        ["spec.template.spec.containers[runtime].resources.limits.cpu"],
    ),
    "an int for a string elsewhere": (
        {"data": {"a": "1"}},
        {"data": {"a": 1}},
        ["data.a"],
    ),
    "an empty label": (
        {"metadata": {"labels": {"a": ""}}},
        {"metadata": {"labels": {}}},
        ["metadata.labels.a"],
    ),
}


@pytest.mark.parametrize(("desired", "live"), SAME.values(), ids=SAME)
def test_sees_no_difference_where_kubernetes_sees_none(
    desired: dict[str, Any], live: dict[str, Any]
) -> None:
    """Defaults, other forms of a value and the additions of others are no drift."""
    assert misses(desired, live) == []


@pytest.mark.parametrize(("desired", "live", "paths"), OTHER.values(), ids=OTHER)
def test_names_the_path_of_each_difference(
    desired: dict[str, Any], live: dict[str, Any], paths: list[str]
) -> None:
    """What differs is named the way people write it."""
    assert misses(desired, live) == paths
