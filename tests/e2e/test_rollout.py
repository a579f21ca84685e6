"""A changed runtime on real pods: waves, a held gateway that serves, a broken image, the way back.

The tests follow each other on one small fleet with a runtime of its own; both tags are the
same image.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from harness.client import Client
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.install import OPERATOR_NAMESPACE, wait_for_operator
from harness.kubectl import Json, Kubectl
from harness.provider import choose
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
PICTURE: Final = ROOT / "tests" / "pictures" / "coffee.jpg"
NAME: Final = "e2e-rollout"  # of the namespace and the runtime
REPOSITORY: Final = RUNTIME_IMAGE.rpartition(":")[0]
NEXT: Final = f"{REPOSITORY}:e2e-next"
MISSING: Final = f"{REPOSITORY}:e2e-missing"
NAMES: Final = ("canary", "g1", "g2", "g3")
WAVES: Final = [{"selector": {"matchLabels": {"tier": "canary"}}}, {"percent": 50}]
# Half of four are two: the canary is one of them, or comes on top.
MOST_IN_WAVE: Final = {1: 1, 2: 3, 3: 4}
# uid of a pod -> (image, restarts of its containers)
Pods = dict[str, tuple[str, int]]


class Fleet:
    """Four gateways on one runtime."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.gateways = {name: Gateway(kubectl, NAME, name) for name in NAMES}
        self.client = Client(kubectl, NAME)

    def install(self) -> None:
        """Have them Ready on the first image, and all but the first wave far away."""
        self.kubectl.apply(
            {
                "apiVersion": "inference.igw.dev/v1alpha1",
                "kind": "InferenceRuntime",
                "metadata": {"name": NAME},
                "spec": {"image": RUNTIME_IMAGE, "rollout": {"waves": WAVES, "soak": "1h"}},
            }
        )
        self.kubectl("create", "namespace", NAME)
        for gateway in self.gateways.values():
            gateway.apply(
                runtimeRef={"name": NAME}, observability={"collector": {"mode": "Disabled"}}
            )
        self.kubectl("label", "igw", "canary", "-n", NAME, "tier=canary")
        self.client.start(RUNTIME_IMAGE)
        self.wait_ready()

    def edit(self, **spec: Any) -> None:
        """Edit the runtime, as the platform team does."""
        self.kubectl("patch", "igwr", NAME, "--type=merge", "-p", json.dumps({"spec": spec}))

    def wait_ready(self) -> None:
        """As a pipeline waits: for the gateways, and then for the rollout's end."""
        for gateway in self.gateways.values():
            gateway.wait_ready()
        self.kubectl(
            *("wait", "--for=condition=Ready", f"igwr/{NAME}", "--timeout=120s"),
            timeout_seconds=140,
        )

    def status(self) -> Json:
        """What the runtime says."""
        runtime = self.kubectl.get("igwr", NAME) or {}
        return dict(runtime["status"])

    def columns(self) -> dict[str, str]:
        """The runtime's row of `kubectl get igwr`."""
        header, row = self.kubectl("get", "igwr", NAME).splitlines()
        return dict(zip(header.split(), row.split(), strict=False))

    def pods(self) -> dict[str, Pods]:
        """The pods of each gateway, those that are on their way out too."""
        found: dict[str, Pods] = {name: {} for name in NAMES}
        selector = "app.kubernetes.io/component=runtime"
        for pod in self.kubectl.items("pods", NAME, selector):
            name = pod["metadata"]["labels"]["inference.igw.dev/gateway"]
            restarts = sum(it["restartCount"] for it in pod["status"].get("containerStatuses", []))
            found[name][pod["metadata"]["uid"]] = (pod["spec"]["containers"][0]["image"], restarts)
        return found

    def on(self, image: str) -> set[str]:
        """The gateways that have a pod of an image."""
        return {
            name
            for name, pods in self.pods().items()
            if any(image == has for has, _ in pods.values())
        }

    def wait_settled(self, image: str) -> dict[str, Pods]:
        """Wait until every gateway has one pod, of that image; return the pods."""

        def settled() -> dict[str, Pods] | None:
            pods = self.pods()
            images = [[has for has, _ in it.values()] for it in pods.values()]
            return pods if images == [[image]] * len(NAMES) else None

        return wait_for(f"one pod of {image} each", settled, timeout_seconds=60)

    def predict(self, name: str) -> int:
        """The status of a prediction."""
        return self.client.post(f"{self.gateways[name].url}/predict", PICTURE).status

    def kill_operator(self) -> str:
        """End the operator without a word; return the dead pod's name."""
        selector = "app.kubernetes.io/name=igw-operator"
        (pod,) = self.kubectl.items("pods", OPERATOR_NAMESPACE, selector)
        name = str(pod["metadata"]["name"])
        self.kubectl("delete", "pod", name, "-n", OPERATOR_NAMESPACE, "--grace-period=0", "--force")
        return name


@pytest.fixture(scope="module")
def fleet(kubectl: Kubectl) -> Iterator[Fleet]:
    """The fleet, Ready on the first image."""
    choose().tag(RUNTIME_IMAGE, NEXT)
    fleet = Fleet(kubectl)
    fleet.install()
    yield fleet
    kubectl("delete", "namespace", NAME, "--wait=false")
    kubectl("delete", "igwr", NAME)


def test_waves_follow_each_other_and_no_request_is_lost(fleet: Fleet) -> None:
    """The canary, half of them, all; the operator dies in the middle; clients notice nothing."""
    before = fleet.wait_settled(RUNTIME_IMAGE)
    with ExitStack() as stack:
        loads = {
            name: stack.enter_context(
                fleet.client.load(
                    f"{fleet.gateways[name].url}/predict", PICTURE, per_second=4, most_seconds=300
                )
            )
            for name in ("canary", "g1")
        }
        fleet.edit(image=NEXT)
        wait_for("the canary's new pod", lambda: fleet.on(NEXT) == {"canary"}, timeout_seconds=30)
        fleet.gateways["canary"].wait_ready()
        wait_for("UPDATED 1", lambda: fleet.columns()["UPDATED"] == "1", timeout_seconds=10)
        held = fleet.gateways["g1"].condition("RolloutHeld")
        assert (held["status"], held["reason"]) == ("True", "AwaitingWave")
        shown = fleet.columns()
        assert (shown["IMAGE"], shown["GATEWAYS"], shown["HELD"]) == (NEXT, "4", "False")
        assert {name: fleet.pods()[name] for name in NAMES if name != "canary"} == {
            name: pods for name, pods in before.items() if name != "canary"
        }
        assert fleet.predict("g1") == 200

        fleet.kill_operator()
        fleet.edit(rollout={"soak": "3s"})
        seen: set[int] = set()
        begun = time.monotonic()
        while len(moved := fleet.on(NEXT)) < len(NAMES):
            # Read after the pods: a wave only grows, so it allows at least what was seen.
            wave = fleet.status()["rollout"]["wave"]
            assert len(moved) <= MOST_IN_WAVE[wave]
            assert "canary" in moved
            seen.add(wave)
            assert time.monotonic() - begun < 120, f"{moved} in wave {wave}"
        assert seen >= {1, 2}
        fleet.wait_ready()
        after = fleet.wait_settled(NEXT)
        answers = {name: load.stop() for name, load in loads.items()}

    for name, pods in after.items():
        assert not pods.keys() & before[name].keys()
        assert [restarts for _, restarts in pods.values()] == [0]
    assert {name: it.faults for name, it in answers.items()} == {"canary": {}, "g1": {}}
    assert min(len(it.samples) for it in answers.values()) > 40
    shown = fleet.columns()
    assert (shown["UPDATED"], shown["HELD"]) == ("4", "False")


def test_a_broken_image_stops_at_the_canary_and_is_rolled_back(fleet: Fleet) -> None:
    """It is named with its reason; nobody else moves, and back means back to the same pods."""
    before = fleet.wait_settled(NEXT)
    fleet.edit(image=MISSING)

    wait_for("HELD", lambda: fleet.columns()["HELD"] == "True", timeout_seconds=60)

    (held,) = (it for it in fleet.status()["conditions"] if it["type"] == "RolloutHeld")
    assert held["reason"] == "GatewayFailing"
    assert f"{NAME}/canary" in held["message"]
    assert "ImagePullFailed" in held["message"]
    assert "kubectl describe igw canary" in held["message"]
    assert held["message"] in fleet.kubectl("get", "igwr", NAME, "-o", "wide")
    assert fleet.columns()["UPDATED"] == "1"
    assert fleet.on(MISSING) == {"canary"}
    assert fleet.gateways["canary"].condition("Available")["status"] == "True"
    assert fleet.predict("canary") == 200

    dead = fleet.kill_operator()
    wait_for_operator(fleet.kubectl)
    fleet.edit(image=NEXT)
    after = fleet.wait_settled(NEXT)
    fleet.wait_ready()

    assert after == before
    shown = fleet.columns()
    assert (shown["IMAGE"], shown["UPDATED"], shown["HELD"]) == (NEXT, "4", "False")
    assert fleet.kubectl.get("pod", dead, OPERATOR_NAMESPACE) is None
