from __future__ import annotations

from typing import Any

import pytest

from igw_operator.api.gateway import Scheduling
from igw_operator.errors import SpecError
from igw_operator.plan.scheduling import SPOT_MARKS, build_scheduling

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
REQUIRED_PATH = f"spec.scheduling.affinity.nodeAffinity.{REQUIRED}"
SELECTOR = {"app": "x"}


def schedule(**fields: Any) -> dict[str, Any]:
    """The scheduling part of a pod's spec."""
    return build_scheduling(Scheduling.model_validate(fields, strict=False), SELECTOR)


def terms(scheduled: dict[str, Any]) -> list[dict[str, Any]]:
    """The required node selector terms."""
    found = scheduled["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert isinstance(found, list)
    return found


def admits(node: dict[str, str], scheduled: dict[str, Any]) -> bool:
    """Whether required node affinity lets a pod on a node, as the scheduler evaluates it."""
    return any(
        all(
            (node.get(each["key"]) in each["values"]) is (each["operator"] == "In")
            for each in term["matchExpressions"]
        )
        for term in terms(scheduled)
    )


def test_an_empty_priority_class_is_none() -> None:
    """An empty string would be another template by its hash, and the same to the API server."""
    assert schedule(priorityClassName="") == schedule()


def test_keeps_off_interruptible_nodes_by_default() -> None:
    """Never means never, also on clouds that do not taint such nodes."""
    scheduled = schedule()
    assert admits({}, scheduled)
    assert not any(admits({mark.label: mark.value}, scheduled) for mark in SPOT_MARKS)
    assert scheduled["tolerations"] == []


def test_requires_an_interruptible_node_of_any_cloud() -> None:
    """Require takes each cloud's mark, and nothing without one."""
    scheduled = schedule(spot="Require")
    assert not admits({}, scheduled)
    assert all(admits({mark.label: mark.value}, scheduled) for mark in SPOT_MARKS)


def test_prefers_an_interruptible_node_without_insisting() -> None:
    """Prefer adds wishes to the user's own and requires nothing."""
    wish = {"weight": 5, "preference": {"matchExpressions": []}}
    scheduled = schedule(spot="Prefer", affinity={"nodeAffinity": {PREFERRED: [wish]}})
    affinity = scheduled["affinity"]["nodeAffinity"]
    assert affinity[PREFERRED][0] == wish
    assert len(affinity[PREFERRED]) == 1 + len(SPOT_MARKS)
    assert REQUIRED not in affinity


@pytest.mark.parametrize("spot", ["Never", "Require"])
def test_merges_spot_with_the_users_own_terms(spot: str) -> None:
    """A node must satisfy one of the user's terms and the spot rule, never just one of both."""
    own = [
        {"matchExpressions": [{"key": "arch", "operator": "In", "values": ["amd64"]}]},
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
    ]
    pods = {"podAffinity": {"anything": 1}}
    scheduled = schedule(
        spot=spot, affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": own}}} | pods
    )
    mark = {SPOT_MARKS[0].label: SPOT_MARKS[0].value}
    good, bad = (mark, {}) if spot == "Require" else ({}, mark)
    assert admits({"arch": "amd64"} | good, scheduled)
    assert admits({"zone": "a"} | good, scheduled)
    assert not admits({"arch": "amd64"} | bad, scheduled)
    assert not admits(good, scheduled)
    assert scheduled["affinity"]["podAffinity"] == {"anything": 1}


def test_keeps_match_fields_of_a_term() -> None:
    """A term by node name stays one, with the spot rule beside it."""
    field = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    own = {REQUIRED: {"nodeSelectorTerms": [{"matchFields": [field]}]}}
    (term,) = terms(schedule(affinity={"nodeAffinity": own}))
    assert term["matchFields"] == [field]
    assert len(term["matchExpressions"]) == len(SPOT_MARKS)


def test_tolerates_the_taints_of_interruptible_nodes() -> None:
    """A toleration that the user wrote already is not written twice."""
    own = {"key": "gpu", "operator": "Exists"}
    same = {
        "key": "cloud.google.com/gke-spot",
        "operator": "Equal",
        "value": "true",
        "effect": "NoSchedule",
    }
    tolerations = schedule(spot="Prefer", tolerations=[own, same])["tolerations"]
    assert tolerations[:2] == [own, same]
    assert [each["key"] for each in tolerations[2:]] == ["kubernetes.azure.com/scalesetpriority"]


def test_leaves_the_users_affinity_as_it_was() -> None:
    """Builders never change their input."""
    affinity: dict[str, Any] = {
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": []}]}}
    }
    schedule(affinity=affinity)
    assert affinity["nodeAffinity"][REQUIRED] == {"nodeSelectorTerms": [{"matchExpressions": []}]}


@pytest.mark.parametrize(
    ("affinity", "path"),
    [
        ({"nodeAffinity": "x"}, "spec.scheduling.affinity.nodeAffinity"),
        ({"nodeAffinity": {REQUIRED: []}}, REQUIRED_PATH),
        (
            {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": ["x"]}}},
            f"{REQUIRED_PATH}.nodeSelectorTerms[0]",
        ),
        (
            {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": {}}]}}},
            f"{REQUIRED_PATH}.nodeSelectorTerms[0].matchExpressions",
        ),
    ],
    ids=["not an object", "not an object below", "term is no object", "expressions are no list"],
)
def test_names_the_field_of_a_malformed_affinity(affinity: dict[str, Any], path: str) -> None:
    """The CRD lets any affinity through; one that cannot be merged is the user's to repair."""
    with pytest.raises(SpecError) as caught:
        schedule(affinity=affinity)
    assert [error.path for error in caught.value.errors] == [path]


def test_spreads_over_zones_and_nodes_where_possible() -> None:
    """Spreading is a wish: a cluster of one node runs everything."""
    constraints = schedule()["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert {each["whenUnsatisfiable"] for each in constraints} == {"ScheduleAnyway"}
    assert schedule(spread=False)["topologySpreadConstraints"] == []
