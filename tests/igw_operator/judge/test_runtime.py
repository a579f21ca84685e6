"""The status of an InferenceRuntime."""

from __future__ import annotations

from typing import Any

from igw_operator.api.status import RuntimeStatus, as_status
from igw_operator.errors import FieldError, SpecError
from igw_operator.judge.reasons import Reason
from igw_operator.judge.runtime import find_steps, judge_runtime
from igw_operator.plan.rollout import parse_state, rank
from rollout_fleet import Fleet
from scenes import NOW, condition_of

MANIFEST: dict[str, Any] = {"metadata": {"name": "default", "generation": 4}}


def test_a_valid_runtime_is_ready() -> None:
    """With the number of gateways that use it."""
    status = judge_runtime(MANIFEST, None, 12, None, NOW)

    assert (status["observedGeneration"], status["gateways"]) == (4, 12)
    assert [it["type"] for it in status["conditions"]] == ["Ready", "RolloutHeld"]
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
    assert as_status(
        RuntimeStatus(observed_generation=1, gateways=0, updated=0, conditions=())
    ) == {
        "observedGeneration": 1,
        "gateways": 0,
        "updated": 0,
        "conditions": [],
    }


def test_an_invalid_spec_keeps_what_is_known_of_the_rollout() -> None:
    """The state is still true: gateways stay where they are, and go on from there."""
    before = {"rollout": {"wave": 2}, "updated": 7}
    error = SpecError([FieldError("spec.image", "is required")])

    status = judge_runtime(MANIFEST, error, 9, before, NOW)

    assert (status["rollout"], status["updated"]) == ({"wave": 2}, 7)
    assert condition_of(status, "Stalled")["reason"] == Reason.INVALID_SPEC


def test_two_defaults_are_graver_than_a_rollout_of_one() -> None:
    """Gateways without runtimeRef get none at all."""
    fleet = Fleet(3, waves=[{"percent": 50}])
    fleet.run(2)
    fleet.image = "b"
    step = fleet.look()

    status = judge_runtime(
        MANIFEST, None, 3, None, NOW, other_defaults=["a"], runtime=fleet.runtime(), step=step
    )

    assert condition_of(status, "Ready")["reason"] == Reason.AMBIGUOUS_DEFAULT
    assert status["rollout"]["wave"] == 1


def test_a_rollout_says_where_it_is_and_whom_it_waits_for() -> None:
    """In one line, with a command to follow it."""
    fleet = Fleet(4, waves=[{"percent": 50}], soak="60s")
    fleet.run(2)
    fleet.image = "b"
    fleet.look()
    names = sorted(fleet.gateways, key=lambda name: rank(f"uid-demo-{name}"))[:2]
    revision = fleet.status["rollout"]["target"]["id"]

    assert fleet.status["message"] == (
        f"Wave 1 of 2: 0 of 4 gateways run revision {revision} (image b); waits for "
        f"demo/{min(names)}, and 1 more. Next: kubectl get igwr default -o wide -w"
    )
    assert fleet.status["wave"] == "1/2"
    fleet.run(1)
    assert "soaks until 2026-01-01T00:01:00Z" in fleet.status["message"]


def test_without_a_rollout_there_is_no_wave() -> None:
    """A column that always had a number would say that something is going on."""
    fleet = Fleet(4, waves=[{"percent": 50}], soak="0s")
    fleet.run(2)
    fleet.look()

    assert "wave" not in fleet.status
    assert fleet.status["rollout"]["wave"] == 2


def test_the_steps_of_a_rollout_are_events() -> None:
    """Begun, each wave, back, and complete; a step that changes nothing is none."""
    fleet = Fleet(4, waves=[{"percent": 50}], soak="0s")
    told: list[str] = []

    def look() -> None:
        before = parse_state(fleet.status.get("rollout") or {})
        told.extend(it.reason for it in find_steps("default", before, fleet.look()))
        fleet.visit_all()
        fleet.settle_all()

    look()
    assert told == []
    for image in ("b", "b", "b", "b", "c", "b", "b"):
        fleet.image = image
        look()
    assert told == [
        "RolloutStarted",
        "WaveStarted",
        "WaveStarted",
        "RolloutComplete",
        "RolloutStarted",
        "WaveStarted",
        "RolledBack",
    ]
