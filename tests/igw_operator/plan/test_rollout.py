"""A changed runtime reaches its gateways in waves, played through with a simulated fleet."""

from __future__ import annotations

import json
from datetime import timedelta
from math import ceil
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from igw_operator.api.runtime import GatewaySelector
from igw_operator.judge.reasons import WAITING
from igw_operator.plan.assignment import Hold
from igw_operator.plan.rollout import State, is_admitted, parse_state, rank
from rollout_fleet import Fleet

WAVES: list[dict[str, Any]] = [{"percent": 10}, {"percent": 50}]


def a_fleet(size: int = 10, **rollout: Any) -> Fleet:
    """A fleet that runs image a, everywhere and Ready."""
    fleet = Fleet(size, **({"waves": WAVES, "soak": "60s"} | rollout))
    fleet.run(2)
    assert set(fleet.images()) <= {"a"}
    return fleet


def test_the_first_install_is_no_rollout() -> None:
    """New gateways begin at once; nobody waits for a wave."""
    fleet = Fleet(5, waves=WAVES, soak="1h")
    step = fleet.run()
    assert fleet.images() == ["a"] * 5
    assert (step.updated, step.is_rolling) == (5, False)
    assert fleet.condition("Ready")["status"] == "True"


def test_waves_move_exactly_their_share() -> None:
    """Ten percent of ten is one, then five, then all; each wave soaks."""
    fleet = a_fleet(10)
    fleet.image = "b"
    moved = []
    for _ in range(16):
        fleet.run(1, seconds=15)
        moved.append(len(fleet.moved("b")))
    assert sorted(set(moved)) == [1, 5, 10]
    # 60 s of soak are four rounds of 15 s, and one for the pods to start.
    assert [moved.count(n) for n in (1, 5)] == [5, 5]
    assert fleet.condition("Ready")["status"] == "True"
    assert all(pods.restarts == ["a", "b"] for pods in fleet.gateways.values())


@pytest.mark.parametrize(("size", "percent", "count"), [(3, 10, 1), (10, 15, 2), (1, 1, 1)])
def test_a_share_is_rounded_up(size: int, percent: int, count: int) -> None:
    """A wave of a share above zero moves somebody."""
    fleet = a_fleet(size, waves=[{"percent": percent}])
    fleet.image = "b"
    fleet.run()
    assert len(fleet.moved("b")) == count


@pytest.mark.pain(11)
def test_a_share_is_of_those_that_can_prove_something() -> None:
    """Ten gateways that were broken before are no test of an image."""
    fleet = a_fleet(20)
    broken = sorted(fleet.gateways, key=lambda name: rank(f"uid-demo-{name}"))[:10]
    for name in broken:
        fleet.gateways[name].is_broken = True
    fleet.settle_all()
    fleet.image = "b"
    fleet.run()
    assert len(set(fleet.moved("b")) - set(broken)) == 1


def test_a_selector_wave_moves_gateways_with_its_labels_first() -> None:
    """And a wave that nobody is in takes no time."""
    fleet = a_fleet(
        5,
        waves=[
            {"selector": {"matchLabels": {"tier": "nobody"}}},
            {"selector": {"matchLabels": {"tier": "canary"}}},
        ],
    )
    fleet.add("first", tier="canary")
    fleet.run(2)
    fleet.image = "b"
    fleet.run(3, seconds=1)
    assert fleet.moved("b") == ["first"]
    assert fleet.status["rollout"]["wave"] == 2
    fleet.run(5, seconds=30)
    assert len(fleet.moved("b")) == 6


def test_who_was_admitted_stays_admitted() -> None:
    """A later wave by labels does not forget the share before it: its gateways still count."""
    canary = {"selector": {"matchLabels": {"tier": "canary"}}}
    fleet = a_fleet(10, waves=[{"percent": 20}, canary], soak="60s")
    last = max(fleet.gateways, key=lambda name: rank(f"uid-demo-{name}"))
    fleet.gateways[last].manifest["metadata"]["labels"] = {"tier": "canary"}
    fleet.image = "b"
    fleet.run(1)
    first, _ = fleet.moved("b")
    fleet.run(2, seconds=61)
    assert fleet.status["rollout"]["wave"] == 2
    fleet.gateways[first].is_broken = True
    fleet.run(3, seconds=61)
    assert f"demo/{first}" in fleet.condition("RolloutHeld")["message"]
    assert len(fleet.moved("b")) == 3


def test_no_waves_mean_everybody_at_once() -> None:
    """As before there were any."""
    fleet = a_fleet(5, waves=[])
    fleet.image = "b"
    fleet.run()
    assert fleet.images() == ["b"] * 5


@pytest.mark.pain(12)
def test_a_failing_gateway_holds_the_rollout_and_is_named() -> None:
    """Nobody else moves, however long it takes; the cure lifts the hold by itself."""
    fleet = a_fleet(10, waves=[{"percent": 20}])
    for pods in fleet.gateways.values():
        pods.bad_images = {"b"}
    fleet.image = "b"
    fleet.run(20, seconds=600)
    worst, _ = sorted(fleet.moved("b"))
    held = fleet.condition("RolloutHeld")
    assert (held["status"], held["reason"]) == ("True", "GatewayFailing")
    assert f"demo/{worst} is not Ready" in held["message"]
    assert "CrashLoop, and 1 more" in held["message"]
    assert f"kubectl describe igw {worst} -n demo" in held["message"]
    assert fleet.condition("Reconciling")["status"] == "True"
    for pods in fleet.gateways.values():
        pods.bad_images = set()
    fleet.run(1)
    assert fleet.condition("RolloutHeld")["status"] == "False"
    fleet.run(5, seconds=60)
    assert fleet.images() == ["b"] * 10


def test_a_hold_ends_with_the_gateway() -> None:
    """Deleting the gateway at fault is a cure too."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.run()
    (first,) = fleet.moved("b")
    fleet.gateways[first].is_broken = True
    fleet.run()
    assert fleet.condition("RolloutHeld")["status"] == "True"
    del fleet.gateways[first]
    fleet.run()
    assert fleet.condition("RolloutHeld")["status"] == "False"


def test_a_loss_of_ready_restarts_the_soak() -> None:
    """Fifty seconds of sixty count for nothing."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.run(2, seconds=50)
    (first,) = fleet.moved("b")
    fleet.gateways[first].is_broken = True
    fleet.run(1, seconds=1)
    fleet.gateways[first].is_broken = False
    fleet.run(1)
    fleet.run(2, seconds=25)
    assert fleet.moved("b") == [first]
    fleet.run(2, seconds=25)
    assert len(fleet.moved("b")) == 5


def test_a_gateway_that_scales_neither_passes_nor_restarts_the_soak() -> None:
    """It served with the revision: adding replicas is daily work."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.run(1, seconds=30)
    (first,) = fleet.moved("b")
    fleet.look()
    fleet.gateways[first].is_busy = True
    fleet.run(3, seconds=60)
    assert fleet.moved("b") == [first]
    fleet.gateways[first].is_busy = False
    fleet.run()
    fleet.run()
    assert len(fleet.moved("b")) == 5


def test_who_was_broken_before_blocks_nobody() -> None:
    """A tenant's own trouble is no evidence against the platform's image."""
    fleet = a_fleet(4, waves=[{"percent": 100}])
    fleet.gateways["g1"].is_broken = True
    fleet.settle_all()
    fleet.image = "b"
    fleet.run(4, seconds=60)
    assert fleet.images() == ["b"] * 4
    assert fleet.condition("Ready")["status"] == "True"


def test_who_was_broken_by_one_revision_still_judges_the_next() -> None:
    """Its fix is not let through unseen because its predecessor had failed."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.look()
    for pods in fleet.gateways.values():
        pods.bad_images = {"b", "c"}
    fleet.run(2, seconds=10)
    (first,) = fleet.moved("b")
    fleet.image = "c"
    fleet.run(10, seconds=60)
    assert fleet.moved("c") == [first]
    assert fleet.condition("RolloutHeld")["reason"] == "GatewayFailing"


def test_pods_that_the_api_server_refuses_hold_the_rollout() -> None:
    """An admission policy against the new image must not wave it through untried."""
    fleet = a_fleet(10)
    fleet.image = "b"
    for pods in fleet.gateways.values():
        pods.is_refused = True
    fleet.now = fleet.now.replace(minute=30)
    fleet.run(10, seconds=600)
    assert fleet.images() == ["a"] * 10
    assert "ApplyRejected" in fleet.condition("RolloutHeld")["message"]
    assert [pods.hold for pods in fleet.gateways.values()].count(Hold.WAVE) == 9


def test_who_cannot_move_for_reasons_of_its_own_is_not_waited_for() -> None:
    """It was stalled before its wave began, and follows when it can."""
    fleet = a_fleet(4, waves=[{"percent": 100}])
    stuck = fleet.gateways["g2"]
    stuck.is_refused = True
    fleet.refuse("g2")
    fleet.now += timedelta(seconds=10)
    fleet.image = "b"
    fleet.run(5, seconds=60)
    assert fleet.images() == ["b", "b", "a", "b"]
    assert fleet.condition("Ready")["status"] == "True"
    stuck.is_refused = False
    fleet.run()
    assert fleet.images() == ["b"] * 4


def test_while_paused_nobody_moves() -> None:
    """Neither those that were let nor anybody else; then it goes on where it was."""
    fleet = a_fleet(10)
    fleet.image, fleet.rollout["paused"] = "b", True
    fleet.run(3, seconds=600)
    assert fleet.images() == ["a"] * 10
    held = fleet.condition("RolloutHeld")
    assert (held["status"], held["reason"]) == ("True", "WavesPaused")
    fleet.rollout["paused"] = False
    fleet.run(1)
    (first,) = fleet.moved("b")
    fleet.rollout["paused"] = True
    fleet.run(5, seconds=600)
    assert fleet.moved("b") == [first]
    fleet.rollout["paused"] = False
    fleet.run(12, seconds=60)
    assert fleet.images() == ["b"] * 10


def test_going_back_to_what_is_proven_needs_no_waves() -> None:
    """All that have moved return at once, and nobody else is touched."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.run(7, seconds=15)
    moved = fleet.moved("b")
    assert len(moved) == 5
    fleet.image = "a"
    fleet.run(1)
    assert fleet.images() == ["a"] * 10
    for name, pods in fleet.gateways.items():
        assert pods.restarts == (["a", "b", "a"] if name in moved else ["a"])


def test_a_change_in_the_middle_of_a_rollout_restarts_only_who_is_admitted() -> None:
    """From a to b to c: who has b keeps it until its turn for c comes."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.run(7, seconds=15)
    on_b = set(fleet.moved("b"))
    assert len(on_b) == 5
    fleet.image = "c"
    fleet.run(1)
    (first,) = fleet.moved("c")
    assert set(fleet.moved("b")) == on_b - {first}
    fleet.add("new")
    fleet.run(1)
    assert fleet.gateways["new"].image in {"a", "c"}  # what is proven, unless it is admitted
    fleet.image = "a"
    fleet.run(1)
    assert set(fleet.images()) == {"a"}


def test_a_lost_status_moves_nobody_at_once() -> None:
    """A restored backup has the Deployments and no statuses: begin with the first wave."""
    fleet = a_fleet(10)
    fleet.image, fleet.status = "b", {}
    for pods in fleet.gateways.values():
        pods.manifest.pop("status")
    fleet.visit_all()
    assert fleet.images() == ["a"] * 10
    fleet.settle_all()
    fleet.run(1)
    assert len(fleet.moved("b")) == 1
    fleet.run(12, seconds=60)
    assert fleet.images() == ["b"] * 10


def test_a_new_operator_starts_no_rollout_unless_it_is_told_to() -> None:
    """Hold: the next change takes it along. Roll: in waves, by itself."""
    fleet = a_fleet(10)
    fleet.template = "t2"
    fleet.run(3, seconds=600)
    assert all(pods.restarts == ["a"] for pods in fleet.gateways.values())
    assert fleet.condition("RolloutHeld")["reason"] == "OperatorChange"
    assert fleet.condition("Ready")["status"] == "True"
    fleet.rollout["operatorChanges"] = "Roll"
    fleet.run(1)
    assert sum(len(pods.restarts) for pods in fleet.gateways.values()) == 11
    fleet.run(12, seconds=60)
    assert all(pods.restarts == ["a", "a"] for pods in fleet.gateways.values())
    assert fleet.condition("RolloutHeld")["status"] == "False"


def test_the_former_operator_takes_back_what_the_new_one_began() -> None:
    """Rolling the operator back is the way back for what it changed."""
    fleet = a_fleet(10, operatorChanges="Roll")
    fleet.template = "t2"
    fleet.run(2)
    moved = [name for name, pods in fleet.gateways.items() if len(pods.restarts) == 2]
    assert len(moved) == 1
    fleet.template = "t1"
    fleet.run(3, seconds=60)
    assert sum(len(pods.restarts) for pods in fleet.gateways.values()) == 12
    assert fleet.status["rollout"]["target"]["template"] == "t1"


def test_going_back_is_over_before_an_operators_change_begins() -> None:
    """Or those on their way back would be stopped half-way."""
    fleet = a_fleet(10, operatorChanges="Roll")
    fleet.image = "b"
    fleet.run(7, seconds=15)
    fleet.image, fleet.template = "a", "t2"
    fleet.look()
    fleet.look()
    assert fleet.status["rollout"]["target"]["template"] == "t1"
    fleet.visit_all()
    assert fleet.images() == ["a"] * 10


def test_a_crash_of_the_operator_keeps_the_soak_and_looks_before_it_leaps() -> None:
    """What happened while it was away is judged before the next wave."""
    fleet = a_fleet(10)
    fleet.image = "b"
    fleet.run(1)
    since = fleet.status["rollout"]["soakingSince"]
    (first,) = fleet.moved("b")
    fleet.crash()
    fleet.now = fleet.now.replace(hour=1)  # the soak is long over
    step = fleet.look()
    assert fleet.moved("b") == [first]
    assert (step.state.wave, fleet.status["rollout"]["soakingSince"]) == (1, since)
    assert step.again_seconds is not None
    fleet.gateways[first].is_broken = True  # it died meanwhile
    fleet.visit_all()
    fleet.settle_all()
    fleet.run(3, seconds=600)
    assert fleet.moved("b") == [first]
    assert fleet.condition("RolloutHeld")["status"] == "True"


def test_models_alone_start_no_rollout() -> None:
    """No pod sees the list; it is of use at once."""
    fleet = a_fleet(3)
    fleet.models = ["resnet50"]
    step = fleet.look()
    assert not step.is_rolling
    assert fleet.status["rollout"]["target"]["models"] == ["resnet50"]
    assert fleet.status["rollout"]["proven"]["models"] == ["resnet50"]


def test_fewer_waves_admit_nobody_by_themselves() -> None:
    """The wave that is on goes on; the last one comes after it, as always."""
    fleet = a_fleet(10, waves=[{"percent": 10}, {"percent": 20}, {"percent": 30}])
    fleet.image = "b"
    fleet.run(7, seconds=15)
    assert fleet.status["rollout"]["wave"] == 2
    fleet.rollout["waves"] = [{"percent": 10}]
    fleet.run(1)
    assert len(fleet.moved("b")) == 2
    fleet.run(6, seconds=30)
    assert len(fleet.moved("b")) == 10


def test_a_state_that_makes_no_sense_counts_as_lost() -> None:
    """As does a revision that is not what its own id says."""
    fleet = a_fleet(3)
    good = fleet.status["rollout"]
    assert parse_state(good) is not None
    assert parse_state({}) is None
    for change in (
        {"wave": "many"},
        {"startedAt": None},
        {"target": good["target"] | {"image": "evil"}},
        {"target": "b"},
    ):
        assert parse_state(good | change) is None


@pytest.mark.parametrize(
    ("expression", "labels", "holds"),
    [
        ({"operator": "In", "values": ["a"]}, {"k": "a"}, True),
        ({"operator": "In", "values": ["a"]}, {"k": "b"}, False),
        ({"operator": "In", "values": ["a"]}, {}, False),
        ({"operator": "NotIn", "values": ["a"]}, {"k": "b"}, True),
        ({"operator": "NotIn", "values": ["a"]}, {}, True),
        ({"operator": "NotIn", "values": ["a"]}, {"k": "a"}, False),
        ({"operator": "Exists"}, {"k": ""}, True),
        ({"operator": "Exists"}, {}, False),
        ({"operator": "DoesNotExist"}, {}, True),
        ({"operator": "DoesNotExist"}, {"k": ""}, False),
    ],
)
def test_expressions_read_labels_as_kubernetes_does(
    expression: dict[str, Any], labels: dict[str, str], *, holds: bool
) -> None:
    """NotIn holds where there is no such label."""
    text = json.dumps({"matchExpressions": [{"key": "k", **expression}]})
    selector = GatewaySelector.model_validate_json(text)
    assert selector.matches(labels) is holds


class Life(RuleBasedStateMachine):
    """Anything may happen, in any order, to a fleet of some gateways."""

    @initialize(
        size=st.integers(1, 8),
        percents=st.lists(st.integers(1, 100), max_size=3).map(sorted),
        soak=st.sampled_from(["0s", "60s"]),
    )
    def install(self, size: int, percents: list[int], soak: str) -> None:
        """A fleet that runs."""
        self.soak = 60 if soak == "60s" else 0
        self.percents = percents
        self.fleet = Fleet(size, waves=[{"percent": it} for it in percents], soak=soak)
        self.fleet.run(2)
        self.rollouts = 0
        self.moves: dict[tuple[str, int], int] = {}
        self.bad_until: dict[str, float] = {}
        self.added = 0

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def pass_time(self, seconds: int) -> None:
        """Time goes by."""
        self.fleet.now += timedelta(seconds=seconds)

    @rule()
    def look(self) -> None:
        """The runtime's pass: if a wave ends, it had the right to."""
        before = self._state()
        self.fleet.look()
        after = self._state()
        assert after is not None
        # There, back and there again within one second are three.
        self.rollouts += before is None or (before.target, before.started) != (
            after.target,
            after.started,
        )
        if before is None or before.target != after.target or before.wave == after.wave:
            return
        if before.wave == 0 or self.fleet.rollout.get("paused"):
            assert not self.fleet.rollout.get("paused")
            return
        for name, pods in self.fleet.gateways.items():
            status = pods.manifest.get("status") or {}
            runtime = status.get("runtime") or {}
            admitted = is_admitted(
                before, self._waves(), rank=rank(pods.manifest["metadata"]["uid"]), labels={}
            )
            if not admitted or not runtime.get("readyBefore"):
                continue
            ready = status["conditions"][0]
            assert runtime["revision"] == before.target.id, f"{name} had not moved"
            assert ready["status"] == "True", f"{name} was not Ready"
            assert pods.is_judged, f"{name} was not looked at"
            last = self.bad_until.get(name, 0.0)
            assert self.fleet.now.timestamp() - last >= self.soak, f"{name} had not soaked"

    @rule(data=st.data())
    def visit(self, data: st.DataObject) -> None:
        """A gateway's pass: it moves only if it may."""
        name = data.draw(st.sampled_from(sorted(self.fleet.gateways)))
        pods, state = self.fleet.gateways[name], self._state()
        had = pods.image
        if not self.fleet.visit(name):
            return
        self._note(name)
        if had:
            assert state is not None
            assert not self.fleet.rollout.get("paused"), f"{name} moved while paused"
            assert pods.image == state.target.image, f"{name} moved to something else"
            uid = pods.manifest["metadata"]["uid"]
            assert is_admitted(state, self._waves(), rank=rank(uid), labels={})
            move = (name, self.rollouts)
            self.moves[move] = self.moves.get(move, 0) + 1

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """A gateway's pods get somewhere."""
        name = data.draw(st.sampled_from(sorted(self.fleet.gateways)))
        self.fleet.settle(name)
        self._note(name)

    @rule(data=st.data(), image=st.sampled_from("abc"))
    def break_image(self, data: st.DataObject, image: str) -> None:
        """An image turns out bad, or good, for a gateway."""
        name = data.draw(st.sampled_from(sorted(self.fleet.gateways)))
        self.fleet.gateways[name].bad_images ^= {image}

    @rule(data=st.data())
    def be_busy(self, data: st.DataObject) -> None:
        """A gateway scales, or has scaled."""
        pods = self.fleet.gateways[data.draw(st.sampled_from(sorted(self.fleet.gateways)))]
        pods.is_busy = not pods.is_busy

    @rule(image=st.sampled_from("abc"))
    def edit(self, image: str) -> None:
        """The platform team wants another image."""
        self.fleet.image = image

    @rule()
    def pause(self) -> None:
        """Or nothing at all for now, or on again."""
        self.fleet.rollout["paused"] = not self.fleet.rollout.get("paused")

    @rule()
    def crash(self) -> None:
        """The operator starts anew."""
        self.fleet.crash()

    @precondition(lambda self: len(self.fleet.gateways) < 10)
    @rule()
    def add(self) -> None:
        """A new gateway."""
        self.added += 1
        self.fleet.add(f"n{self.added}")

    @precondition(lambda self: len(self.fleet.gateways) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """One goes."""
        del self.fleet.gateways[data.draw(st.sampled_from(sorted(self.fleet.gateways)))]

    @invariant()
    def nobody_moves_twice(self) -> None:
        """One rollout restarts a gateway once at most."""
        assert all(count == 1 for count in getattr(self, "moves", {}).values())

    def teardown(self) -> None:
        """When the world is well and left alone, the rollout ends, whatever happened before."""
        if not hasattr(self, "fleet"):
            return
        self.fleet.rollout["paused"] = False
        for pods in self.fleet.gateways.values():
            pods.bad_images, pods.is_busy = set(), False
        self.fleet.run(4 * (len(self.percents) + 2), seconds=61)
        assert set(self.fleet.images()) == {self.fleet.image}
        assert self.fleet.condition("Ready")["status"] == "True"
        before = json_of(self.fleet)
        self.fleet.run(2, seconds=61)
        assert json_of(self.fleet) == before

    def _state(self) -> State | None:
        return parse_state(self.fleet.status.get("rollout") or {})

    def _waves(self) -> Any:
        return self.fleet.runtime().spec.rollout.waves

    def _note(self, name: str) -> None:
        """Remember the last moment in which a gateway was not well, nor harmlessly busy."""
        pods = self.fleet.gateways[name]
        status = pods.manifest.get("status") or {}
        ready = status["conditions"][0] if status else {"status": "False", "reason": ""}
        served = (status.get("runtime") or {}).get("served")
        if ready["status"] != "True" and not (served and ready["reason"] in WAITING):
            self.bad_until[name] = self.fleet.now.timestamp()


def json_of(fleet: Fleet) -> str:
    """Everything that is written down anywhere."""
    return repr((fleet.status, [pods.manifest for pods in fleet.gateways.values()]))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=50)


def test_shares_hold_at_any_size() -> None:
    """No wave has ever moved more than its share, rounded up."""
    for size in (1, 2, 7, 33):
        fleet = a_fleet(size, soak="0s")
        fleet.image = "b"
        seen = set()
        for _ in range(4):
            fleet.run(1)
            seen.add(len(fleet.moved("b")))
        assert seen == {ceil(size * percent / 100) for percent in (10, 50, 100)}
