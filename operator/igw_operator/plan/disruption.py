"""The PodDisruptionBudget: a node drain takes replicas one by one and never hangs."""

from __future__ import annotations

from igw_operator.api.objects import Manifest
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata, build_selector
from igw_operator.plan.scaling import choose_scaling


def build_pdb(inputs: PlanInput) -> Manifest | None:
    """The budget, or None where there is at most one replica.

    ``maxUnavailable: 1`` always lets a drain go on, also while only one replica runs;
    ``minAvailable: 1`` would block it there for ever. With a single fixed replica there is
    nothing to protect: the budget could only say yes.
    """
    gateway = inputs.gateway
    scaling = choose_scaling(gateway.spec)
    most = scaling.max_replicas if scaling else gateway.spec.replicas or 0
    if most <= 1:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": build_metadata(gateway, COMPONENT_RUNTIME),
        "spec": {
            "maxUnavailable": 1,
            # Else a replica that never gets ready uses the budget up and blocks every drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": build_selector(gateway, COMPONENT_RUNTIME)},
        },
    }
