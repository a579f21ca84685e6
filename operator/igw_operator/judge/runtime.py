"""The status of an InferenceRuntime: is its spec valid, and how many gateways use it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from igw_operator import conventions
from igw_operator.api.status import RuntimeStatus, as_status
from igw_operator.errors import SpecError
from igw_operator.judge.conditions import ConditionType, build_conditions
from igw_operator.judge.finding import Finding, Truth, Verdict
from igw_operator.judge.reasons import Reason


def judge_runtime(
    manifest: Mapping[str, Any],
    spec_error: SpecError | None,
    gateway_count: int,
    previous: Mapping[str, Any] | None,
    now: datetime,
    *,
    other_defaults: Sequence[str] = (),
) -> dict[str, Any]:
    """The complete new status, in the API server's own form.

    ``other_defaults`` are the names of further runtimes that are marked as default, where
    this one is.
    """
    generation = manifest["metadata"].get("generation", 0)
    conditions = build_conditions(
        _judge(manifest["metadata"]["name"], spec_error, other_defaults),
        previous=previous or {},
        generation=generation,
        now=now,
    )
    status = RuntimeStatus(
        observed_generation=generation, gateways=gateway_count, conditions=conditions
    )
    return as_status(status)


def _judge(
    name: str, error: SpecError | None, other_defaults: Sequence[str]
) -> dict[ConditionType, Verdict]:
    if error is not None:
        return _stalled(
            Finding(
                reason=Reason.INVALID_SPEC, text=str(error), command=f"kubectl edit igwr {name}"
            )
        )
    if other_defaults:
        names = ", ".join(sorted({name, *other_defaults}))
        return _stalled(
            Finding(
                reason=Reason.AMBIGUOUS_DEFAULT,
                text=f"{names} are all marked as default: a gateway without runtimeRef gets none",
                command=f"kubectl annotate igwr {name} {conventions.ANNOTATION_DEFAULT_RUNTIME}-",
            )
        )
    finding = Finding(reason=Reason.ACCEPTED, text=f"InferenceRuntime {name} can be used")
    return {ConditionType.READY: Verdict(truth=Truth.TRUE, finding=finding)}


def _stalled(finding: Finding) -> dict[ConditionType, Verdict]:
    return {
        ConditionType.READY: Verdict(truth=Truth.FALSE, finding=finding),
        ConditionType.STALLED: Verdict(truth=Truth.TRUE, finding=finding),
    }
