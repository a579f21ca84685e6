"""Could the children of one concern be written, and are they live as they were written?

The first links of the chains behind Ready, ScalingReady, MonitoringReady and TelemetryReady.
"""

from __future__ import annotations

import re
from typing import Final

from igw_operator.errors import (
    ContestedError,
    LeavingAutoscalerError,
    PredecessorError,
    RivalAutoscalerError,
)
from igw_operator.judge import prose
from igw_operator.judge.finding import Finding
from igw_operator.judge.reasons import Reason
from igw_operator.judge.scene import Concern, Scene
from igw_operator.judge.snapshot import ApplyFailure

_FORBIDDEN: Final = 403
_RANK: Final = (
    Reason.FOREIGN_OBJECT,
    Reason.AUTOSCALER_LEFT_OVER,
    Reason.FIELD_CONTESTED,
    Reason.APPLY_FORBIDDEN,
    Reason.QUOTA_EXCEEDED,
    Reason.APPLY_REJECTED,
    Reason.APPLY_FAILED,
    Reason.APPLYING,
)
_BY_KIND_OF_ERROR: Final = (
    (PredecessorError, Reason.APPLYING),  # the old one's DELETED event brings us back
    (LeavingAutoscalerError, Reason.APPLYING),
    (RivalAutoscalerError, Reason.AUTOSCALER_LEFT_OVER),
    (ContestedError, Reason.FIELD_CONTESTED),
)
_NAMING: Final = tuple(kind for kind, _ in _BY_KIND_OF_ERROR)
_USER = re.compile(r'User "([^"]+)" cannot')


def check_children(scene: Scene, concern: Concern) -> Finding | None:
    """What keeps the concern's children from being as they are asked for."""
    return _check_failures(scene, concern) or _check_stale(scene, concern)


def _check_failures(scene: Scene, concern: Concern) -> Finding | None:
    failures = sorted(
        scene.failures_of(concern), key=lambda it: (_RANK.index(_reason(it)), it.kind, it.name)
    )
    if not failures:
        return None
    worst = failures[0]
    reason, message = _reason(worst), prose.tidy(str(worst.error))
    # The message about an object that is not ours names it already.
    is_named = worst.foreign or isinstance(worst.error, _NAMING)
    return Finding(
        reason=reason,
        text=message if is_named else f"{worst.kind} {worst.name} was refused: {message}",
        command=_command(reason, worst, scene.namespace),
    )


def _reason(failure: ApplyFailure) -> Reason:
    if failure.foreign:
        return Reason.FOREIGN_OBJECT
    by_kind = (reason for kind, reason in _BY_KIND_OF_ERROR if isinstance(failure.error, kind))
    if reason := next(by_kind, None):
        return reason
    if "exceeded quota" in str(failure.error):
        return Reason.QUOTA_EXCEEDED
    if failure.error.status == _FORBIDDEN:
        return Reason.APPLY_FORBIDDEN
    return Reason.APPLY_REJECTED if failure.error.is_final else Reason.APPLY_FAILED


def _command(reason: Reason, failure: ApplyFailure, namespace: str) -> str:
    if reason is Reason.AUTOSCALER_LEFT_OVER:
        return f"kubectl get hpa -n {namespace}"
    user = _USER.search(str(failure.error))
    if reason is Reason.APPLY_FORBIDDEN and user is not None:
        return f"kubectl auth can-i --list -n {namespace} --as={user[1]}"
    if reason is Reason.QUOTA_EXCEEDED:
        return f"kubectl describe resourcequota -n {namespace}"
    look = f"kubectl get {failure.kind.lower()} {failure.name} -n {namespace} -o yaml"
    return f"{look} --show-managed-fields" if reason is Reason.FIELD_CONTESTED else look


def _check_stale(scene: Scene, concern: Concern) -> Finding | None:
    stale = scene.stale_of(concern)
    if not stale:
        return None
    kind, name = min(stale)
    return Finding(
        reason=Reason.APPLYING,
        text=f"{kind} {name} is not yet as it is asked for",
        command=f"kubectl get {kind.lower()} {name} -n {scene.namespace}",
    )
