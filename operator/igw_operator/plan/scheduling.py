"""Where replicas run: spreading, interruptible nodes, and the user's own wishes.

Spot nodes are known by their clouds' well-known labels; one row a cloud, no code. ``Never``
is taken at its word: it keeps replicas off such nodes, which not every cloud taints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from igw_operator.api.gateway import Scheduling, Spot
from igw_operator.errors import FieldError, SpecError

Terms = list[dict[str, Any]]

_AFFINITY_PATH: Final = "spec.scheduling.affinity"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_TERMS: Final = "nodeSelectorTerms"
_STRONGEST_WEIGHT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotMark:
    """How one cloud marks an interruptible node."""

    label: str
    value: str
    tainted: bool
    """Whether such nodes carry, or may carry, a NoSchedule taint of the same key and value."""


# A new row changes the pod template of every gateway whose spot is Never, which is the default:
# it belongs into a release that says so.
SPOT_MARKS: Final = (
    # https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms
    SpotMark(label="cloud.google.com/gke-spot", value="true", tainted=True),
    # https://karpenter.sh/docs/concepts/scheduling/
    SpotMark(label="karpenter.sh/capacity-type", value="spot", tainted=False),
    # https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
    SpotMark(label="eks.amazonaws.com/capacityType", value="SPOT", tainted=False),
    # https://learn.microsoft.com/azure/aks/spot-node-pool
    SpotMark(label="kubernetes.azure.com/scalesetpriority", value="spot", tainted=True),
)


def build_scheduling(scheduling: Scheduling, selector: Mapping[str, str]) -> dict[str, Any]:
    """The scheduling part of a pod's spec."""
    return {
        "affinity": _build_affinity(scheduling),
        "nodeSelector": dict(scheduling.node_selector),
        "priorityClassName": scheduling.priority_class_name or None,  # empty is none
        "tolerations": _build_tolerations(scheduling),
        "topologySpreadConstraints": _build_spread(selector) if scheduling.spread else [],
    }


def _build_spread(selector: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            # A cluster of one zone, or one node, must still run every replica.
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(selector)},
            # Count each revision alone, or a rolling update ends lopsided.
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _build_tolerations(scheduling: Scheduling) -> list[dict[str, Any]]:
    wanted = [
        toleration.model_dump(by_alias=True, exclude_none=True)
        for toleration in scheduling.tolerations
    ]
    if scheduling.spot is Spot.NEVER:
        return wanted
    taints = [
        {"key": mark.label, "operator": "Equal", "value": mark.value, "effect": "NoSchedule"}
        for mark in SPOT_MARKS
        if mark.tainted
    ]
    return wanted + [taint for taint in taints if taint not in wanted]


def _build_affinity(scheduling: Scheduling) -> dict[str, Any]:
    affinity: dict[str, Any] = deepcopy(scheduling.affinity or {})
    node = _read(affinity, "nodeAffinity", dict, _AFFINITY_PATH)
    if scheduling.spot is Spot.PREFER:
        wishes = _read(node, _PREFERRED, list, f"{_AFFINITY_PATH}.nodeAffinity")
        merged = node | {_PREFERRED: [*wishes, *_build_wishes()]}
    else:
        path = f"{_AFFINITY_PATH}.nodeAffinity.{_REQUIRED}"
        required = _read(node, _REQUIRED, dict, f"{_AFFINITY_PATH}.nodeAffinity")
        terms = _read(required, _TERMS, list, path)
        _check_terms(terms, f"{path}.{_TERMS}")
        merged = node | {_REQUIRED: required | {_TERMS: _merge(terms, scheduling.spot)}}
    return affinity | {"nodeAffinity": merged}


def _build_wishes() -> list[dict[str, Any]]:
    return [
        {
            "weight": _STRONGEST_WEIGHT,
            "preference": {"matchExpressions": [_build_expression(mark, "In")]},
        }
        for mark in SPOT_MARKS
    ]


def _merge(terms: Terms, spot: Spot) -> Terms:
    """Each of the user's terms together with each way to satisfy ``spot``.

    The terms of a node selector are ORed and the expressions of a term are ANDed, so this
    product is the only form in which both wishes hold.
    """
    alternatives = (
        [[_build_expression(mark, "In")] for mark in SPOT_MARKS]
        if spot is Spot.REQUIRE
        # NotIn also holds for a node without the label.
        else [[_build_expression(mark, "NotIn") for mark in SPOT_MARKS]]
    )
    return [
        term | {"matchExpressions": [*term.get("matchExpressions", []), *expressions]}
        for term, expressions in product(terms or [{}], alternatives)
    ]


def _build_expression(mark: SpotMark, operator: str) -> dict[str, Any]:
    return {"key": mark.label, "operator": operator, "values": [mark.value]}


def _read(parent: Mapping[str, Any], key: str, kind: type, path: str) -> Any:
    """A part of the user's affinity, which the CRD passes through unchecked."""
    value = parent.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a list"
        raise SpecError([FieldError(f"{path}.{key}", f"must be {wanted}, as in a pod's spec")])
    return value


def _check_terms(terms: Sequence[Any], path: str) -> None:
    for index, term in enumerate(terms):
        if not isinstance(term, dict):
            raise SpecError([FieldError(f"{path}[{index}]", "must be an object")])
        _read(term, "matchExpressions", list, f"{path}[{index}]")
