"""The security settings of every pod: the restricted Pod Security Standard, and no more.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, profile "restricted".
"""

from __future__ import annotations

from typing import Any

from igw_operator.conventions import RUN_AS


def build_pod_security() -> dict[str, Any]:
    """Security context of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": RUN_AS,
        "runAsGroup": RUN_AS,
        "fsGroup": RUN_AS,
        # A model volume may hold many files: change their owner only where it is wrong.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build_container_security() -> dict[str, Any]:
    """Security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
