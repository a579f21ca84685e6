"""Everything that a judgement may look at, gathered before it starts.

``world`` fills it from the cache; the policies in this room only read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from igw_operator.api.objects import Gateway, Manifest, ObjectKey, Runtime
from igw_operator.errors import ApiError, SpecError
from igw_operator.plan.assignment import Assignment, Hold
from igw_operator.plan.inputs import Capabilities
from igw_operator.plan.revision import Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyFailure:
    """One child that could not be written in this pass."""

    kind: str
    name: str
    error: ApiError
    foreign: bool = False
    """True where an object of that name belongs to somebody else and was left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One gateway and its world, frozen.

    ``gateway`` is None where the spec could not be parsed (``spec_error`` says why).
    ``children`` are the live objects by ``(kind, name)``; ``desired`` what was built.
    ``events`` are recent core/v1 Warning events about the children, newest last.
    """

    manifest: Mapping[str, Any]
    gateway: Gateway | None
    runtime: Runtime | None = None
    spec_error: SpecError | None = None
    desired: Sequence[Manifest] = ()
    children: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)
    replica_sets: Sequence[Manifest] = ()
    pods: Sequence[Manifest] = ()
    events: Sequence[Manifest] = ()
    parents: Mapping[ObjectKey, Manifest] = field(default_factory=dict)
    """The Gateways that the gateway's route names, as far as they exist."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    failures: Sequence[ApplyFailure] = ()
    assignment: Assignment | None = None
    """Which revision the gateway is to be built from."""
    revision: Revision | None = None
    """Which one its live Deployment was built from; None: there is none, or it does not say."""
    hold: Hold | None = None
    """Why a change of the pods waits, if one does."""
