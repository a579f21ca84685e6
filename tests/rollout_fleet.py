"""A simulated fleet: gateways with pods that start, fail and recover, on one runtime.

What decides is the operator's own: the wave machine, the assignment, the gate, and what a
gateway reports. Everything goes through the objects' JSON between two passes, so that nothing
can be remembered anywhere else. Only pods and time are played.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from factories import a_runtime, live_gateway_manifest
from igw_operator import conventions
from igw_operator.api.objects import Manifest, ObjectKey, Runtime, parse_gateway, parse_runtime
from igw_operator.judge.member import judge_member
from igw_operator.judge.runtime import judge_runtime
from igw_operator.judge.snapshot import Snapshot
from igw_operator.judge.status import report_runtime
from igw_operator.plan.assignment import Hold, assign
from igw_operator.plan.revision import Recorded, mark_revision, read_recorded, with_revision
from igw_operator.plan.rollout import Member, Step, parse_state, step
from igw_operator.world.fleet import summarize

TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Pods:
    """One gateway: its objects, and what its pods do with an image."""

    manifest: Manifest
    deployment: Manifest | None = None
    is_broken: bool = False
    """By its owner: with no image at all it becomes Ready."""
    bad_images: set[str] = field(default_factory=set)
    is_busy: bool = False
    """Scaling: not Ready for a harmless reason."""
    restarts: list[str] = field(default_factory=list)
    """The images that its pods were restarted with."""
    is_judged: bool = True
    hold: Hold | None = None
    is_refused: bool = False
    """The API server refuses to change the Deployment."""

    @property
    def image(self) -> str:
        """What its Deployment runs; empty: there is none."""
        recorded = read_recorded(self.deployment)
        return recorded.revision.image if recorded else ""

    @property
    def is_fine(self) -> bool:
        """Whether the pods, left alone for a while, become Ready."""
        return not self.is_broken and self.image not in self.bad_images


class Fleet:
    """A runtime and its gateways."""

    def __init__(self, size: int = 3, template: str = "t1", **rollout: Any) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.template = template
        self.rollout: dict[str, Any] = rollout
        self.image = "a"
        self.models: list[str] = []
        self.status: Manifest = {}
        self.gateways: dict[str, Pods] = {}
        self.last: Step | None = None
        for number in range(size):
            self.add(f"g{number}")

    def add(self, name: str, **labels: str) -> Pods:
        """A new gateway."""
        manifest = live_gateway_manifest(name)
        manifest["metadata"]["labels"] = labels
        self.gateways[name] = Pods(manifest=manifest)
        return self.gateways[name]

    def runtime(self) -> Runtime:
        """The runtime as the API server has it."""
        spec: dict[str, Any] = {"image": self.image, "models": self.models, "rollout": self.rollout}
        base = a_runtime(**spec)
        manifest = {
            "apiVersion": conventions.API_VERSION,
            "kind": conventions.RUNTIME_KIND,
            "metadata": {"name": base.name, "generation": 1},
            "spec": spec,
            "status": json.loads(json.dumps(self.status)),
        }
        return parse_runtime(manifest)

    def census(self) -> list[Member]:
        """What the operator knows of the gateways."""
        members = []
        for name, pods in self.gateways.items():
            member = summarize(ObjectKey("demo", name), pods.manifest)
            members.append(member if pods.is_judged else _unseen(member))
        return members

    def look(self) -> Step:
        """The runtime's own pass."""
        runtime, census = self.runtime(), self.census()
        before = parse_state(runtime.rollout)
        if before is None:
            census = [_with_revision(it, self.gateways[it.key.name].deployment) for it in census]
        self.last = step(
            runtime.spec, self.template, before, census, now=self.now, judge=judge_member
        )
        self.status = judge_runtime(
            {"metadata": {"name": runtime.name, "generation": 1}},
            None,
            len(census),
            self.status,
            self.now,
            runtime=runtime,
            step=self.last,
            template=self.template,
        )
        return self.last

    def visit(self, name: str) -> bool:
        """One gateway's pass; say whether its pods were restarted."""
        pods, runtime = self.gateways[name], self.runtime()
        gateway = parse_gateway(pods.manifest)
        recorded = read_recorded(pods.deployment)
        state = parse_state(runtime.rollout)
        assignment = assign(gateway, runtime, state, recorded, self.template)
        pods.hold = assignment.hold
        moves = recorded is None or recorded.revision != assignment.revision
        if moves and not pods.is_refused:
            mark = mark_revision(runtime.name, assignment.revision)
            pods.deployment = {"metadata": {"annotations": {conventions.ANNOTATION_REVISION: mark}}}
            pods.restarts.append(assignment.revision.image)
            pods.is_busy = False
            self._report(name, "False", "Progressing")
        elif moves:
            self._report(name, "False", "ApplyRejected")
        elif _ready(pods.manifest).get("reason") == "ApplyRejected":
            self._report(name, "True", "Serving")
        pods.is_judged = True
        return moves and not pods.is_refused

    def settle(self, name: str) -> None:
        """The pods do what they do, and the gateway says so."""
        pods = self.gateways[name]
        if pods.deployment is None or _ready(pods.manifest).get("reason") == "ApplyRejected":
            return
        if not pods.is_fine:
            self._report(name, "False", "CrashLoop")
        elif pods.is_busy:
            self._report(name, "False", "ReplicasStarting")
        else:
            self._report(name, "True", "Serving")

    def refuse(self, name: str) -> None:
        """The API server refuses what a gateway asks for."""
        self._report(name, "False", "ApplyRejected")

    def visit_all(self) -> None:
        """Every gateway's pass."""
        for name in self.gateways:
            self.visit(name)

    def settle_all(self) -> None:
        """Everybody's pods."""
        for name in self.gateways:
            self.settle(name)

    def run(self, rounds: int = 1, seconds: float = 0) -> Step:
        """Everything once, some times over, with time between."""
        for _ in range(rounds):
            self.look()
            self.visit_all()
            self.settle_all()
            self.now += timedelta(seconds=seconds)
        return self.look()

    def crash(self) -> None:
        """The operator dies and starts anew: it has looked at nobody yet."""
        for pods in self.gateways.values():
            pods.is_judged = False

    def images(self) -> list[str]:
        """What everybody runs."""
        return [pods.image for pods in self.gateways.values()]

    def moved(self, image: str) -> list[str]:
        """Who runs an image."""
        return [name for name, pods in self.gateways.items() if pods.image == image]

    def condition(self, kind: str) -> Manifest:
        """A condition of the runtime."""
        return next((it for it in self.status["conditions"] if it["type"] == kind), {})

    def _report(self, name: str, ready: str, reason: str) -> None:
        pods = self.gateways[name]
        before = pods.manifest.get("status") or {}
        old = _ready(pods.manifest)
        since = self.now.strftime(TIME)
        if old.get("status") == ready:
            since = old["lastTransitionTime"]
        conditions = [
            {"type": "Ready", "status": ready, "reason": reason, "lastTransitionTime": since}
        ]
        if reason == "ApplyRejected":
            conditions.append({"type": "Stalled", "status": "True", "reason": reason})
        recorded = read_recorded(pods.deployment)
        runtime = self.runtime()
        if recorded:
            runtime = with_revision(runtime, recorded.revision)
        snapshot = Snapshot(
            manifest=pods.manifest,
            gateway=None,
            runtime=runtime,
            revision=recorded.revision if recorded else None,
        )
        served = report_runtime(snapshot, before, is_ready=ready == "True")
        assert served is not None
        status = {
            "observedGeneration": pods.manifest["metadata"]["generation"],
            "conditions": conditions,
            "runtime": served.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        pods.manifest = {**pods.manifest, "status": json.loads(json.dumps(status))}


def _ready(manifest: Manifest) -> Manifest:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return next((it for it in conditions if it["type"] == "Ready"), {})


def _unseen(member: Member) -> Member:
    return replace(member, is_current=False)


def _with_revision(member: Member, deployment: Manifest | None) -> Member:
    recorded: Recorded | None = read_recorded(deployment)
    return replace(member, revision=recorded.revision.id if recorded else "")
