"""Everything that a judgement may look at, gathered before it starts.

``world`` fills it from the cache; the policies in this room only read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
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
class SloReading:
    """One objective as Prometheus has recorded it; None: no sample."""

    name: str
    is_recorded: bool = False
    """Whether the objective's own record is there, with the number of the present spec."""
    budget_remaining: float | None = None
    """Share of the error budget that is left; negative where it is overspent."""
    burn_rate: float | None = None
    """Speed of the last hour; 1 spends exactly the budget in the window."""
    coverage: float | None = None
    """Share of the window that samples cover."""


class SpanLoss(StrEnum):
    """Where spans are lost, the cause before what follows from it."""

    BACKEND = "backend"  # the collector sent them, and gave up
    QUEUE = "queue"  # too many wait in the collector for the backend
    CROWDED = "crowded"  # more traces at once than the collector holds; counts traces
    REFUSED = "refused"  # the collector is at its memory limit
    RUNTIME = "runtime"  # no collector got them


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReading:
    """What Prometheus and its Alertmanagers say of a gateway's alert drill."""

    is_over: bool = False
    """Whether its time is over, and nobody is asked about it any more."""
    server: str = ""
    """Who fires it; empty: nobody is known to."""
    firing_at: datetime | None = None
    """Since when, by that server's own clock."""
    alertmanagers: int = 0
    """How many it sends alerts to."""
    problem: str = ""
    """Why one of them may have it although none is known to."""
    receiver: str = ""
    """The address of one that has it."""
    delivered_at: datetime | None = None
    """When that one had last received it, by its own clock, as it was first found there."""
    routed_to: tuple[str, ...] = ()
    """The receivers that it passes it on to, by their names."""
    kept_back: str = ""
    """Why it passes it on to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What Prometheus says of one gateway, in one round of questions to all servers.

    Of several servers it is the one that proves most: see `world.monitoring`.
    """

    server: str = ""
    """Who was asked, such as ``Prometheus monitoring/main``; empty: there is nobody to ask."""
    error: str = ""
    """Why there was no answer, though several were waited for; then nothing below is known."""
    faults: tuple[str, ...] = ()
    """Why no Prometheus object selects both monitor and rules, as far as objects tell it."""
    has_targets: bool = False
    """Whether at least one pod is scraped with success."""
    expected: int = 0
    """Pods that have been ready for long enough to be scraped by now."""
    silent: tuple[str, ...] = ()
    """Those of them that Prometheus knows nothing of."""
    down: tuple[tuple[str, str], ...] = ()
    """Those of them whose scrape fails, with Prometheus' words where they were asked for."""
    outdated: tuple[str, ...] = ()
    """Those of them that follow other live settings than the operator has written."""
    rule_error: str = ""
    """Prometheus' words about a rule of the gateway that fails."""
    knows_operator: bool = True
    """Whether the operator's metric about the gateway arrives, where alerts need it."""
    enforced: bool = False
    """Whether the server overwrites the namespace in the operator's metrics."""
    retention: str = ""
    """How long the server keeps samples, where that is shorter than the SLO window."""
    is_overdue: bool = False
    """Whether the proof has been missing for so long that waiting is over."""
    is_collector_scraped: bool = False
    """Whether the collector's own metrics arrive."""
    spans_lost: tuple[tuple[SpanLoss, int], ...] = ()
    """Where spans were lost within five minutes, and about how many; the cause first."""
    slos: tuple[SloReading, ...] = ()
    drill: DrillReading | None = None
    """What became of the alert drill; None: none is asked for."""
    as_of: datetime | None = None
    """The time of the answers, by Prometheus' own clock."""

    @property
    def are_rules_loaded(self) -> bool:
        """Whether each objective is recorded as the present spec has it."""
        return bool(self.slos) and all(slo.is_recorded for slo in self.slos)

    @property
    def are_pods_scraped(self) -> bool:
        """Whether at least one pod is scraped, and none that should be is not."""
        return self.has_targets and not self.silent and not self.down

    @property
    def is_proof(self) -> bool:
        """Whether it proves that monitoring works from end to end, with the present settings."""
        return (
            bool(self.server)
            and not self.error
            and self.are_pods_scraped
            and self.are_rules_loaded
            and not self.outdated
            and self.knows_operator
        )


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
    reading: Reading | None = None
    """What Prometheus says; None: this process has not been told yet, what stands stays."""
