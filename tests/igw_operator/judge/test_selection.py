"""Which objects a Prometheus takes, and the label at fault where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igw_operator.judge.selection import Selectable, find_faults, find_unmet

MONITOR = Selectable(
    kind="ServiceMonitor", namespace="demo", name="photos", labels={"team": "vision"}
)
OF_NAMESPACE = "its spec.serviceMonitorNamespaceSelector"
RULES = Selectable(
    kind="PrometheusRule", namespace="demo", name="photos-slo", labels={"team": "vision"}
)


def a_prometheus(**spec: Any) -> dict[str, Any]:
    """A Prometheus in namespace monitoring."""
    return {"metadata": {"name": "main", "namespace": "monitoring"}, "spec": spec}


def an_open_one(**spec: Any) -> dict[str, Any]:
    """A Prometheus that takes everything, but for the changes."""
    everything: dict[str, Any] = {
        "serviceMonitorSelector": {},
        "serviceMonitorNamespaceSelector": {},
        "ruleSelector": {},
        "ruleNamespaceSelector": {},
    }
    return a_prometheus(**(everything | spec))


FAULTS: dict[str, tuple[dict[str, Any], Selectable, dict[str, str] | None, list[str]]] = {
    "everything": (an_open_one(), MONITOR, {}, []),
    "no monitor selector": (
        an_open_one(serviceMonitorSelector=None),
        MONITOR,
        {},
        ["its spec.serviceMonitorSelector is absent, which selects nothing"],
    ),
    "no rule selector": (
        an_open_one(ruleSelector=None),
        RULES,
        {},
        ["its spec.ruleSelector is absent, which selects nothing"],
    ),
    "a label is missing": (
        an_open_one(serviceMonitorSelector={"matchLabels": {"release": "kps"}}),
        MONITOR,
        {},
        ["its spec.serviceMonitorSelector wants label release=kps, which is not there"],
    ),
    "a label is another one": (
        an_open_one(ruleSelector={"matchLabels": {"team": "sre"}}),
        RULES,
        {},
        ["its spec.ruleSelector wants label team=sre, not 'vision'"],
    ),
    "a label is right": (
        an_open_one(ruleSelector={"matchLabels": {"team": "vision"}}),
        RULES,
        {},
        [],
    ),
    "the other kind's selector does not matter": (
        an_open_one(ruleSelector=None, ruleNamespaceSelector=None),
        MONITOR,
        {},
        [],
    ),
    "no namespace selector": (
        an_open_one(ruleNamespaceSelector=None),
        RULES,
        {},
        ["its spec.ruleNamespaceSelector is absent, which selects namespace monitoring only"],
    ),
    "a namespace without the label": (
        an_open_one(serviceMonitorNamespaceSelector={"matchLabels": {"monitored": "yes"}}),
        MONITOR,
        {"kubernetes.io/metadata.name": "demo"},
        [f"{OF_NAMESPACE} wants label monitored=yes on namespace demo, which is not there"],
    ),
    "a namespace that nobody knows": (
        an_open_one(serviceMonitorNamespaceSelector={"matchLabels": {"monitored": "yes"}}),
        MONITOR,
        None,
        [],
    ),
    "both": (
        a_prometheus(),
        MONITOR,
        {},
        [
            "its spec.serviceMonitorSelector is absent, which selects nothing",
            f"{OF_NAMESPACE} is absent, which selects namespace monitoring only",
        ],
    ),
}


@pytest.mark.pain(13)
@pytest.mark.parametrize(
    ("prometheus", "wanted", "namespace", "faults"), FAULTS.values(), ids=FAULTS
)
def test_the_fault_is_named(
    prometheus: dict[str, Any],
    wanted: Selectable,
    namespace: dict[str, str] | None,
    faults: list[str],
) -> None:
    """Which selector of which Prometheus does not match which label of which object."""
    found = find_faults(prometheus, wanted, namespace)

    prefix = f"Prometheus monitoring/main does not select {wanted}: "
    assert found == tuple(f"{prefix}{fault}" for fault in faults)


def test_without_a_namespace_selector_its_own_namespace_counts() -> None:
    """As the Prometheus Operator has it."""
    own = Selectable(kind="ServiceMonitor", namespace="monitoring", name="x", labels={})

    assert find_faults(an_open_one(serviceMonitorNamespaceSelector=None), own, None) == ()


EXPRESSIONS: dict[str, tuple[dict[str, Any], dict[str, str], list[str]]] = {
    "In holds": ({"operator": "In", "values": ["a", "b"]}, {"key": "b"}, []),
    "In fails": (
        {"operator": "In", "values": ["a", "b"]},
        {"key": "c"},
        ["label key in (a, b), not 'c'"],
    ),
    "In of nothing": (
        {"operator": "In", "values": ["a"]},
        {},
        ["label key in (a), which is not there"],
    ),
    "NotIn holds": ({"operator": "NotIn", "values": ["a"]}, {"key": "b"}, []),
    "NotIn holds of nothing": ({"operator": "NotIn", "values": ["a"]}, {}, []),
    "NotIn fails": (
        {"operator": "NotIn", "values": ["a"]},
        {"key": "a"},
        ["label key not in (a), not 'a'"],
    ),
    "Exists holds": ({"operator": "Exists"}, {"key": ""}, []),
    "Exists fails": ({"operator": "Exists"}, {}, ["label key to exist, which is not there"]),
    "DoesNotExist holds": ({"operator": "DoesNotExist"}, {}, []),
    "DoesNotExist fails": (
        {"operator": "DoesNotExist"},
        {"key": "a"},
        ["label key to be absent, not 'a'"],
    ),
    "an operator of tomorrow": (
        {"operator": "Like", "values": ["a*"]},
        {"key": "a"},
        ["label key Like, which is no operator, not 'a'"],
    ),
}


@pytest.mark.parametrize(("expression", "labels", "unmet"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions_are_read_as_kubernetes_reads_them(
    expression: dict[str, Any], labels: dict[str, str], unmet: list[str]
) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/."""
    assert find_unmet({"matchExpressions": [{"key": "key", **expression}]}, labels) == unmet


LABELS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"))


@given(LABELS, LABELS)
def test_labels_match_where_they_are_a_part(wanted: dict[str, str], labels: dict[str, str]) -> None:
    """Each requirement that is not met is named, and no other."""
    unmet = find_unmet({"matchLabels": wanted}, labels)

    assert len(unmet) == sum(labels.get(key) != value for key, value in wanted.items())


@given(LABELS, st.sampled_from("abcd"), st.lists(st.sampled_from("xyz"), min_size=1))
def test_opposites_are_opposite(labels: dict[str, str], key: str, values: list[str]) -> None:
    """Of In and NotIn, and of Exists and DoesNotExist, exactly one holds."""
    for one, other in (("In", "NotIn"), ("Exists", "DoesNotExist")):
        holds = [
            not find_unmet(
                {"matchExpressions": [{"key": key, "operator": each, "values": values}]}, labels
            )
            for each in (one, other)
        ]
        assert sorted(holds) == [False, True]
