"""A changed runtime reaches its gateways in waves; a new operator restarts no pod.

The API server, the Deployment controller and the operator are real, pods are played. Each test
has a runtime of its own, and gateways in a namespace of its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from factories import gateway_manifest
from igw_operator import conventions, kinds
from igw_operator.api.objects import parse_gateway, parse_runtime
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.hold import hold_templates
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.revision import Revision, read_recorded
from integration.cluster import Cluster, Manifest, RefusedError, wait_for
from integration.fake_pods import FakePods
from integration.operator_process import OperatorProcess, install
from localnode.controlplane import ControlPlane

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("rollout")]

_numbers = itertools.count(1)
QUIET: dict[str, Any] = {"collector": {"mode": "Disabled"}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, ControlPlane]]:
    """A cluster of this module's own: its operator is stopped and killed."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        cluster = Cluster(plane)
        install(cluster, prometheus_crds=None)
        yield cluster, plane
        cluster.close()


@pytest.fixture(scope="module")
def pods(cluster: tuple[Cluster, ControlPlane]) -> Iterator[FakePods]:
    """All pods of it."""
    with FakePods(cluster[1]) as pods:
        yield pods


@pytest.fixture(scope="module")
def operator(
    cluster: tuple[Cluster, ControlPlane], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator, which must not have crashed anywhere."""
    operator = OperatorProcess(cluster[1], tmp_path_factory.mktemp("operator"))
    operator.start()
    yield operator
    assert operator.stop() == 0, operator.log.read_text()[-3000:]
    assert operator.errors() == []


class Fleet:
    """A runtime and its gateways."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.name = f"fleet-{next(_numbers)}"
        self.image = "igw.dev/runtime:a"
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        cluster.create(manifest)

    def install(self, size: int, **rollout: Any) -> None:
        """Have so many gateways run image a, Ready."""
        self.edit(rollout=rollout)
        for number in range(size):
            self.add(f"g{number}")
        everybody = self.cluster.list_all("InferenceGateway", self.name)
        self.wait_complete(len(everybody))

    def add(self, name: str, labels: dict[str, str] | None = None, **spec: Any) -> None:
        """One more gateway."""
        small = {"replicas": 1, "observability": QUIET, "runtimeRef": {"name": self.name}}
        manifest = gateway_manifest(name, self.name, **(small | spec))
        manifest["metadata"]["labels"] = labels or {}
        self.cluster.apply(manifest)

    def edit(self, **spec: Any) -> None:
        """Edit the runtime, as the platform team does."""
        if self.cluster.get("InferenceRuntime", "", self.name) is None:
            self.cluster.apply(
                {
                    "apiVersion": conventions.API_VERSION,
                    "kind": conventions.RUNTIME_KIND,
                    "metadata": {"name": self.name},
                    "spec": {"image": self.image} | spec,
                }
            )
            return
        self.cluster.patch("InferenceRuntime", "", self.name, {"spec": spec})

    def roll(self, tag: str) -> None:
        """Want another image."""
        self.edit(image=f"igw.dev/runtime:{tag}")

    def runtime(self) -> Manifest:
        """The runtime now."""
        return self.cluster.must_get("InferenceRuntime", "", self.name)

    def status(self) -> Manifest:
        """Its status."""
        return dict(self.runtime().get("status") or {})

    def condition(self, kind: str) -> Manifest:
        """A condition of the runtime, if it speaks of the latest spec."""
        runtime = self.runtime()
        conditions = (runtime.get("status") or {}).get("conditions") or []
        found: Manifest = next((it for it in conditions if it["type"] == kind), {})
        is_current = found.get("observedGeneration") == runtime["metadata"]["generation"]
        return dict(found) if is_current else {}

    def tags(self) -> dict[str, str]:
        """The tag of the image that each gateway's Deployment asks for."""
        deployments = self.cluster.list_all("Deployment", self.name)
        return {
            it["metadata"]["name"]: it["spec"]["template"]["spec"]["containers"][0][
                "image"
            ].rpartition(":")[2]
            for it in deployments
        }

    def moved(self, tag: str) -> list[str]:
        """Who asks for a tag."""
        return sorted(name for name, it in self.tags().items() if it == tag)

    def wait_moved(self, tag: str, count: int) -> list[str]:
        """Wait until so many do."""
        wait_for(lambda: len(self.moved(tag)) >= count, f"{count} on {tag}", timeout_seconds=40)
        moved = self.moved(tag)
        assert len(moved) == count
        return moved

    def wait_complete(self, size: int) -> None:
        """Wait until everybody runs what the runtime says, Ready."""
        wait_for(lambda: self._is_complete(size), "the rollout to end", timeout_seconds=90)

    def wait_held(self, reason: str) -> Manifest:
        """Wait until the runtime says that it is held, for a reason."""
        wait_for(
            lambda: self.condition("RolloutHeld").get("reason") == reason,
            f"RolloutHeld for {reason}",
            timeout_seconds=30,
        )
        return self.condition("RolloutHeld")

    def held(self, name: str) -> Manifest:
        """RolloutHeld of a gateway."""
        return self.cluster.condition(self.name, name, "RolloutHeld")

    def replica_sets(self, name: str) -> int:
        """How many revisions of pods a gateway has had."""
        found = self.cluster.list_all(
            "ReplicaSet", self.name, f"{conventions.LABEL_GATEWAY}={name}"
        )
        return len(found)

    def pod_uids(self) -> set[str]:
        """Every pod."""
        return {it["metadata"]["uid"] for it in self.cluster.list_all("Pod", self.name)}

    def events(self) -> list[str]:
        """Reasons of the events about the runtime, oldest first."""
        events = self.cluster.list_all("Event", "default")
        ours = [it for it in events if it["involvedObject"].get("name") == self.name]
        return [it["reason"] for it in sorted(ours, key=lambda it: it["eventTime"])]

    def _is_complete(self, size: int) -> bool:
        status = self.status()
        return (
            status.get("gateways") == status.get("updated") == size
            and self.condition("Ready").get("status") == "True"
            and all(_is_ready(it) for it in self.cluster.list_all("InferenceGateway", self.name))
        )


def _is_ready(gateway: Manifest) -> bool:
    status = gateway.get("status") or {"conditions": []}
    return {"True"} == {it["status"] for it in status["conditions"] if it["type"] == "Ready"}


@pytest.fixture
def fleet(
    cluster: tuple[Cluster, ControlPlane], pods: FakePods, operator: OperatorProcess
) -> Fleet:
    """A runtime without gateways, the operator at work."""
    del pods, operator  # they run
    return Fleet(cluster[0])


def test_waves_follow_each_other_after_their_soak(fleet: Fleet) -> None:
    """One of six, three of six, all; each gateway once; and the columns say so."""
    fleet.add("chosen", {"tier": "canary"})
    waves = [
        {"selector": {"matchLabels": {"tier": "canary"}}},
        {"percent": 10},
        {"percent": 50},
    ]
    fleet.install(5, waves=waves, soak="2s")
    assert fleet.status()["gateways"] == 6
    fleet.roll("b")
    assert fleet.wait_moved("b", 1) == ["chosen"]
    assert wait_for(lambda: fleet.held("g0").get("status") == "True", "g0 to say so")
    held = fleet.held("g0")
    assert held["reason"] == "AwaitingWave"
    assert fleet.condition("Reconciling")["status"] == "True"
    # 10 percent of six is one, 50 percent are three; the one that was chosen may come on top.
    most = {1: 1, 2: 2, 3: 4, 4: 6}
    waves_seen: set[int] = set()
    begun = time.monotonic()
    while (moved := len(fleet.moved("b"))) < 6:
        # Read after the number: a wave only grows, so it allows at least what was seen.
        wave = fleet.status()["rollout"]["wave"]
        assert moved <= most[wave]
        waves_seen.add(wave)
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    fleet.wait_complete(6)
    # Whether the second wave is passed over, because it admits nobody new, is chance.
    assert waves_seen >= {1, 3}
    assert {fleet.replica_sets(name) for name in fleet.tags()} == {2}
    assert fleet.held("g0")["status"] == "False"
    wait_for(
        lambda: {"RolloutStarted", "WaveStarted", "RolloutComplete"} <= set(fleet.events()),
        "the events of it",
    )
    served = fleet.cluster.must_get("InferenceGateway", fleet.name, "g0")["status"]["runtime"]
    assert served["image"] == "igw.dev/runtime:b"
    assert served["revision"] == fleet.status()["rollout"]["target"]["id"]
    assert (served["readyBefore"], served["served"]) == (True, True)


@pytest.mark.pain(12)
def test_a_bad_image_stops_at_the_first_gateway_and_is_named(fleet: Fleet, pods: FakePods) -> None:
    """The old pods go on serving; the cure, here a push of the image, resumes the rollout."""
    tag = f"bad-{fleet.name}"
    fleet.install(4, waves=[{"percent": 25}], soak="1s")
    pods.spoil(f"igw.dev/runtime:{tag}")
    fleet.roll(tag)
    held = fleet.wait_held("GatewayFailing")
    (first,) = fleet.moved(tag)
    assert f"Gateway {fleet.name}/{first} is not Ready" in held["message"]
    assert "ImagePullFailed" in held["message"]
    assert held["message"].endswith(f"Next: kubectl describe igw {first} -n {fleet.name}")
    assert fleet.status()["message"] == held["message"]
    assert fleet.cluster.condition(fleet.name, first, "Available")["status"] == "True"
    time.sleep(4)
    assert fleet.moved(tag) == [first]
    wait_for(lambda: "GatewayFailing" in fleet.events(), "an event")
    pods.cure(f"igw.dev/runtime:{tag}")
    fleet.wait_complete(4)
    assert fleet.condition("RolloutHeld")["status"] == "False"


def test_a_rollout_is_rolled_back_by_an_edit(fleet: Fleet, pods: FakePods) -> None:
    """Who has moved returns at once, without waves; who has not is never touched."""
    tag = f"bad-{fleet.name}"
    fleet.install(4, waves=[{"percent": 25}], soak="1h")
    pods.spoil(f"igw.dev/runtime:{tag}")
    fleet.roll(tag)
    fleet.wait_held("GatewayFailing")
    (first,) = fleet.moved(tag)
    fleet.roll("a")
    fleet.wait_complete(4)
    assert fleet.moved("a") == ["g0", "g1", "g2", "g3"]
    counts = {name: fleet.replica_sets(name) for name in fleet.tags()}
    assert counts == {name: 2 if name == first else 1 for name in counts}
    wait_for(lambda: "RolledBack" in fleet.events(), "an event")


def test_a_paused_rollout_moves_nobody(fleet: Fleet) -> None:
    """Then it goes on where it was; a third image meanwhile restarts only who is admitted."""
    fleet.install(4, waves=[{"percent": 25}, {"percent": 50}], soak="1s")
    fleet.edit(image="igw.dev/runtime:b", rollout={"paused": True})
    held = fleet.wait_held("WavesPaused")
    assert '"paused":false' in held["message"]
    time.sleep(4)
    assert fleet.moved("b") == []
    fleet.edit(rollout={"paused": False, "soak": "1h"})
    (first,) = fleet.wait_moved("b", 1)
    fleet.roll("c")
    assert fleet.wait_moved("c", 1) == [first]
    assert fleet.moved("a") == sorted({"g0", "g1", "g2", "g3"} - {first})
    fleet.edit(rollout={"soak": "1s"})
    fleet.wait_complete(4)
    assert {fleet.replica_sets(name) for name in fleet.tags()} == {2, 3}


def test_a_gateway_that_waits_is_built_from_what_it_has(fleet: Fleet) -> None:
    """Its owner's edit goes through, with the old image; a new one begins with it too."""
    fleet.install(3, waves=[{"percent": 10}], soak="1h")
    fleet.roll("b")
    (first,) = fleet.wait_moved("b", 1)
    other = next(name for name in sorted(fleet.tags()) if name != first)
    fleet.add(other, serving={"maxBatch": 8})
    wait_for(lambda: fleet.replica_sets(other) == 2, "the edit to reach the pods")
    assert fleet.moved("b") == [first]
    fleet.add("late")
    wait_for(lambda: "late" in fleet.tags(), "the new gateway's Deployment")
    rank_decides = fleet.tags()["late"]
    assert rank_decides in {"a", "b"}
    fleet.edit(rollout={"soak": "0s"})
    fleet.wait_complete(4)
    assert {fleet.replica_sets("late"), fleet.replica_sets(first)} <= {1, 2}


def test_a_killed_operator_goes_on_in_the_middle_of_a_wave(
    fleet: Fleet, operator: OperatorProcess, pods: FakePods
) -> None:
    """Killed at once after the first move; what went wrong meanwhile is seen before it goes on."""
    tag = f"late-{fleet.name}"
    fleet.install(6, waves=[{"percent": 10}, {"percent": 50}], soak="1s")
    fleet.roll(tag)
    fleet.wait_moved(tag, 1)
    operator.kill()
    pods.spoil(f"igw.dev/runtime:{tag}")
    moved = fleet.moved(tag)
    time.sleep(2)
    operator.start()
    fleet.wait_held("GatewayFailing")
    assert fleet.moved(tag) == moved
    pods.cure(f"igw.dev/runtime:{tag}")
    fleet.wait_moved(tag, 3)
    operator.kill()
    operator.start()
    fleet.wait_complete(6)
    assert {fleet.replica_sets(name) for name in fleet.tags()} == {2}


def test_a_restored_backup_begins_with_the_first_wave(
    fleet: Fleet, operator: OperatorProcess
) -> None:
    """Deployments are there, no status is, and the spec wants something else."""
    fleet.install(5, waves=[{"percent": 20}], soak="1h")
    operator.stop()
    try:
        nothing = {"status": None}
        fleet.cluster.patch("InferenceRuntime", "", fleet.name, nothing, "status")
        for name in fleet.tags():
            fleet.cluster.patch("InferenceGateway", fleet.name, name, nothing, "status")
        fleet.roll("b")
    finally:
        operator.start()
    fleet.wait_moved("b", 1)
    time.sleep(4)
    assert len(fleet.moved("b")) == 1
    fleet.edit(rollout={"soak": "0s"})
    fleet.wait_complete(5)


def _as_older_operator(fleet: Fleet, name: str, *, with_record: bool) -> Revision:
    """Write a gateway's Deployments as an operator would have that built its pods otherwise."""
    runtime = parse_runtime(fleet.runtime())
    gateway = parse_gateway(fleet.cluster.must_get("InferenceGateway", fleet.name, name))
    live = fleet.cluster.must_get("Deployment", fleet.name, name)
    recorded = read_recorded(live)
    assert recorded is not None
    older = replace(recorded.revision, template="older")
    children = build_children(PlanInput(gateway=gateway, runtime=runtime))
    for child in children:
        if child["kind"] == "Deployment":
            container = child["spec"]["template"]["spec"]["containers"][0]
            container["env"] = [*container["env"], {"name": "OLDER", "value": "1"}]
    if with_record:
        children = hold_templates(
            children, {}, gateway, runtime.name, older, is_edited=False
        ).children
    for child in children:
        if child["kind"] == "Deployment":
            fleet.cluster.apply(stamp(child, gateway), manager=conventions.FIELD_MANAGER)
    return older


def _has_older(fleet: Fleet, name: str) -> bool:
    deployment = fleet.cluster.must_get("Deployment", fleet.name, name)
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return {"name": "OLDER", "value": "1"} in env


def _wait_rolled(fleet: Fleet, size: int) -> None:
    """Until the played pods are those of the Deployments' templates."""

    def is_rolled() -> bool:
        deployments = fleet.cluster.list_all("Deployment", fleet.name)
        return len(fleet.pod_uids()) == size and all(
            it.get("status", {}).get("observedGeneration") == it["metadata"]["generation"]
            and it["status"].get("updatedReplicas") == it["status"].get("availableReplicas") == 1
            for it in deployments
        )

    wait_for(is_rolled, "the pods to be replaced", timeout_seconds=40)


@pytest.mark.pain(7)
def test_a_new_operator_restarts_no_pod_until_it_is_told_to(
    fleet: Fleet, operator: OperatorProcess
) -> None:
    """Held on both Deployments, said on gateway and runtime; an SLO edit releases nothing."""
    fleet.install(2, waves=[{"percent": 50}], soak="1s")
    fleet.add("g0", observability={})
    wait_for(lambda: "g0-collector" in fleet.tags(), "the collector")
    fleet.wait_complete(2)
    operator.stop()
    try:
        older = _as_older_operator(fleet, "g0", with_record=True)
        assert _as_older_operator(fleet, "g1", with_record=True) == older
        record = {"id": older.id, **older.as_record()}
        state = {"rollout": {"target": record, "proven": record}}
        fleet.cluster.patch("InferenceRuntime", "", fleet.name, {"status": state}, "status")
        _wait_rolled(fleet, 3)
    finally:
        operator.start()
    before = fleet.pod_uids()
    held = fleet.wait_held("OperatorChange")
    assert "operatorChanges is Roll" in held["message"]
    wait_for(lambda: fleet.held("g0").get("reason") == "OperatorChange", "g0 to say so")
    gateway = fleet.cluster.must_get("InferenceGateway", fleet.name, "g0")
    assert gateway["status"]["reason"] != "OperatorChange", "it serves as it was asked to"
    slo = {"latency": {"threshold": "250ms"}}
    fleet.cluster.patch("InferenceGateway", fleet.name, "g0", {"spec": {"slo": slo}})
    drift = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
    fleet.cluster.patch("Deployment", fleet.name, "g1", drift)
    time.sleep(3)
    assert all(_has_older(fleet, name) for name in ("g0", "g1", "g0-collector"))
    _wait_rolled(fleet, 3)
    # A repair that comes before the Deployment's controller has looked replaces none at all.
    assert len(fleet.pod_uids() & before) >= 2, "only the drifted one was replaced"
    fleet.edit(rollout={"operatorChanges": "Roll"})
    fleet.wait_complete(2)
    assert not any(_has_older(fleet, name) for name in ("g0", "g1", "g0-collector"))
    assert fleet.condition("RolloutHeld")["status"] == "False"
    assert fleet.held("g0")["status"] == "False"


def test_what_an_operator_without_records_made_is_adopted_without_a_restart(
    fleet: Fleet, operator: OperatorProcess
) -> None:
    """Even if it built its pods otherwise; an edit brings the new ones."""
    fleet.install(1, waves=[], soak="0s")
    operator.stop()
    try:
        _as_older_operator(fleet, "g0", with_record=False)
        metadata = fleet.cluster.must_get("Deployment", fleet.name, "g0")["metadata"]
        assert conventions.ANNOTATION_REVISION not in metadata["annotations"]
        for resource, namespace, name in (
            (kinds.RUNTIME, "", fleet.name),
            (kinds.GATEWAY, fleet.name, "g0"),
        ):
            patch = {"status": {"rollout": None, "runtime": None}}
            fleet.cluster.patch(resource.kind, namespace, name, patch, "status")
        _wait_rolled(fleet, 1)
    finally:
        operator.start()
    before = fleet.pod_uids()
    wait_for(lambda: fleet.held("g0").get("reason") == "OperatorChange", "g0 to say so")
    time.sleep(2)
    assert fleet.pod_uids() == before
    assert _has_older(fleet, "g0")
    fleet.add("g0", serving={"maxBatch": 8})
    wait_for(lambda: not _has_older(fleet, "g0"), "the edit to bring the new pods")
    assert wait_for(lambda: fleet.held("g0").get("status") == "False", "g0 not to be held")


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        ({"waves": [{}]}, "either percent or selector"),
        ({"waves": [{"percent": 5, "selector": {"matchLabels": {"a": "b"}}}]}, "either percent"),
        ({"waves": [{"percent": 50}, {"percent": 10}]}, "must ascend"),
        ({"waves": [{"selector": {}}]}, "names no label"),
        ({"waves": [{"percent": 0}]}, "percent"),
        ({"waves": [{"percent": 1}] * 17}, "waves"),
        ({"soak": "soon"}, "must be a duration"),
        ({"operatorChanges": "Ignore"}, "operatorChanges"),
        (
            {"waves": [{"selector": {"matchExpressions": [{"key": "k", "operator": "In"}]}}]},
            "In and NotIn need values",
        ),
    ],
)
@pytest.mark.pain(12)
def test_a_rollout_that_makes_no_sense_is_refused(
    cluster: tuple[Cluster, ControlPlane], rollout: dict[str, Any], says: str
) -> None:
    """By the API server, at once, in words."""
    manifest = {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {"name": "refused"},
        "spec": {"image": "a", "rollout": rollout},
    }
    with pytest.raises(RefusedError, match=says):
        cluster[0].create(manifest)


def test_the_defaults_are_filled_in(cluster: tuple[Cluster, ControlPlane]) -> None:
    """What applies can be read off the object."""
    manifest = {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {"name": "defaults"},
        "spec": {"image": "a", "rollout": {"paused": True}},
    }
    created = cluster[0].create(manifest)
    assert created["spec"]["rollout"] == {
        "waves": [{"percent": 10}, {"percent": 50}],
        "soak": "5m",
        "paused": True,
        "operatorChanges": "Hold",
    }
    assert parse_runtime(created).spec.rollout.soak_seconds == 300
