"""The status of an InferenceRuntime."""

from __future__ import annotations

from typing import Any

from igw_operator.api.status import RuntimeStatus, as_status
from igw_operator.errors import FieldError, SpecError
from igw_operator.judge.reasons import Reason
from igw_operator.judge.runtime import judge_runtime
from scenes import NOW, condition_of

MANIFEST: dict[str, Any] = {"metadata": {"name": "default", "generation": 4}}


def test_a_valid_runtime_is_ready() -> None:
    """With the number of gateways that use it."""
    status = judge_runtime(MANIFEST, None, 12, None, NOW)

    assert (status["observedGeneration"], status["gateways"]) == (4, 12)
    assert [it["type"] for it in status["conditions"]] == ["Ready"]
    assert condition_of(status, "Ready")["reason"] == Reason.ACCEPTED


def test_an_invalid_runtime_is_stalled() -> None:
    """With the fields at fault and the way to them."""
    error = SpecError([FieldError("spec.image", "is required")])

    status = judge_runtime(MANIFEST, error, 0, None, NOW)

    assert condition_of(status, "Ready")["status"] == "False"
    assert condition_of(status, "Stalled")["message"] == (
        "spec.image: is required. Next: kubectl edit igwr default"
    )


def test_two_default_runtimes_are_one_too_many() -> None:
    """Neither serves a gateway without runtimeRef; both say so."""
    status = judge_runtime(MANIFEST, None, 0, None, NOW, other_defaults=["blue"])

    ready = condition_of(status, "Ready")
    assert ready["reason"] == Reason.AMBIGUOUS_DEFAULT
    assert ready["message"].startswith("blue, default are all marked as default")
    assert "kubectl annotate igwr default inference.igw.dev/is-default-runtime-" in ready["message"]


def test_a_runtimes_status_is_a_fixed_point() -> None:
    """Judged twice, hours apart, it is the same."""
    first = judge_runtime(MANIFEST, None, 3, None, NOW)

    assert judge_runtime(MANIFEST, None, 3, first, NOW.replace(hour=23)) == first
    assert as_status(RuntimeStatus(observed_generation=1, gateways=0, conditions=())) == {
        "observedGeneration": 1,
        "gateways": 0,
        "conditions": [],
    }
