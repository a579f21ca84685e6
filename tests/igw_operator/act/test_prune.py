"""Which ConfigMaps outlive the specs that they were made for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from factories import a_gateway, a_runtime
from igw_operator.act.prune import find_orphaned, find_unwanted
from igw_operator.api.objects import Manifest
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.inputs import PlanInput
from scenes import a_replica_set, as_live

GATEWAY = a_gateway()
COLLECTOR = "photos-collector"


def children(**tracing: Any) -> list[Manifest]:
    """The children of a gateway with these settings of tracing, as they are live."""
    gateway = a_gateway(observability={"tracing": tracing})
    built = build_children(PlanInput(gateway=gateway, runtime=a_runtime()))
    return [as_live(stamp(child, gateway)) for child in built]


def configs(manifests: list[Manifest]) -> set[str]:
    """Names of the collector's configurations among them."""
    names = {it["metadata"]["name"] for it in manifests if it["kind"] == "ConfigMap"}
    return {name for name in names if name.startswith(COLLECTOR)}


def collector(manifests: list[Manifest]) -> Manifest:
    """The collector's Deployment."""
    (found,) = (
        it for it in manifests if (it["kind"], it["metadata"]["name"]) == ("Deployment", COLLECTOR)
    )
    return found


def replica_set(deployment: Manifest, replicas: int, pods: int) -> Manifest:
    """Its ReplicaSet: how many pods it is to have, and has."""
    found = a_replica_set(deployment)
    owner = {"kind": "Deployment", "name": deployment["metadata"]["name"]}
    found["metadata"]["ownerReferences"] = [owner]
    return found | {
        "spec": found["spec"] | {"replicas": replicas},
        "status": {"replicas": pods},
    }


BEFORE, AFTER = children(samplingPercent=1), children(samplingPercent=2)
LIVE = [*AFTER, *(it for it in BEFORE if configs([it]))]


def unwanted(live: list[Manifest], replica_sets: list[Manifest]) -> set[str]:
    """Names of the configurations that go."""
    return configs(find_unwanted(live, AFTER, GATEWAY.uid, replica_sets))


@pytest.mark.parametrize(
    ("replicas", "pods"), [(1, 1), (0, 1), (1, 0)], ids=["serves", "is leaving", "has to come"]
)
def test_a_configuration_stays_while_a_pod_may_need_it(replicas: int, pods: int) -> None:
    """The old collector goes on where the new one is not ready, and may have to start again."""
    assert unwanted(LIVE, [replica_set(collector(BEFORE), replicas, pods)]) == set()


def test_a_configuration_goes_when_no_pod_is_left() -> None:
    """A ReplicaSet that only remembers keeps nothing."""
    assert unwanted(LIVE, [replica_set(collector(BEFORE), 0, 0)]) == configs(BEFORE)


def test_a_configuration_stays_while_the_new_template_is_on_its_way() -> None:
    """The live Deployment is that of before this pass: its pods may be about to be made."""
    live = [*BEFORE, *(it for it in AFTER if configs([it]))]
    assert unwanted(live, []) == set()


def test_all_configurations_go_with_the_collector() -> None:
    """At once: whoever needs them is not wanted either."""
    live = deepcopy(BEFORE)
    desired = [it for it in BEFORE if not it["metadata"]["name"].startswith(COLLECTOR)]
    sets = [replica_set(collector(live), 1, 1)]
    found = find_unwanted(live, desired, GATEWAY.uid, sets)
    assert configs(found) == configs(BEFORE)


def test_nothing_else_stays_for_a_replica_set() -> None:
    """A Service of that name is no ConfigMap."""
    names = configs(BEFORE)
    live = [it | {"kind": "Service"} for it in LIVE if configs([it]) == names]
    sets = [replica_set(collector(BEFORE), 1, 1)]
    assert {it["metadata"]["name"] for it in find_unwanted(live, AFTER, GATEWAY.uid, sets)} == names


@pytest.mark.parametrize(
    ("version", "kind", "is_found"),
    [
        ("keda.sh/v1alpha1", "ScaledObject", True),
        ("keda.sh/v1", "ScaledObject", True),
        ("keda.sh/v1alpha1", "ScaledJob", False),
        ("example.com/v1", "ScaledObject", False),
    ],
)
def test_only_what_keda_made_is_an_orphan_of_keda(version: str, kind: str, is_found: bool) -> None:
    """By its owner, of whatever version; one on its way out is left to whoever ends it."""
    owner = {"apiVersion": version, "kind": kind, "name": "photos", "uid": "1"}
    made: Manifest = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-photos", "ownerReferences": [owner]},
    }
    leaving = deepcopy(made)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert find_orphaned([*LIVE, made, leaving]) == ([made] if is_found else [])
