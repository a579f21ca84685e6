"""The children of a gateway without a cluster: for review, GitOps diffs and rule tests.

Called by ``python -m igw_operator render -f FILE``. What it gives is what the operator
applies, except that a gateway from a file has no uid and so its children no ownerReference.
"""

from __future__ import annotations

from igw_operator.api.objects import Gateway, Manifest, Runtime
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.inputs import Capabilities, Defaults, PlanInput


def render(
    gateway: Gateway, runtime: Runtime, capabilities: Capabilities, defaults: Defaults
) -> list[Manifest]:
    """Every child, stamped.

    Raises:
        SpecError: as `build_children`.
    """
    inputs = PlanInput(
        gateway=gateway, runtime=runtime, capabilities=capabilities, defaults=defaults
    )
    return [stamp(child, gateway) for child in build_children(inputs)]
