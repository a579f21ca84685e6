"""The ServiceAccounts: identities without any right, so that pods never run as ``default``."""

from __future__ import annotations

from igw_operator.api.objects import Manifest
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata


def build_service_account(inputs: PlanInput, component: str, suffix: str = "") -> Manifest:
    """The account of one component; nothing in a gateway talks to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": build_metadata(inputs.gateway, component, suffix),
        "automountServiceAccountToken": False,
    }
