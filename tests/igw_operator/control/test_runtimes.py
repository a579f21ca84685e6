from __future__ import annotations

import asyncio
from typing import Any

import pytest

from factories import RUNTIME_IMAGE, live_gateway_manifest
from igw_operator import conventions, kinds
from igw_operator.act.events import EventRecorder
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import ObjectKey
from igw_operator.control.outcome import Outcome
from igw_operator.control.runtimes import RuntimeReconciler
from igw_operator.errors import ApiError
from igw_operator.metrics import Metrics
from igw_operator.world.cache import Cache
from operator_fakes import FakeApi, FakeClock

DEFAULT = ObjectKey("", "default")


class Harness:
    """A runtime reconciler over a fake API server."""

    def __init__(self) -> None:
        self.api, self.cache, self.clock = FakeApi(), Cache(), FakeClock()
        self.enqueued: list[ObjectKey] = []
        self.metrics = Metrics()
        self.recorder = EventRecorder(
            api=self.api,
            metrics=self.metrics,
            instance="me",
            now=self.clock.now,
            clock=self.clock,
        )
        self.reconcile = RuntimeReconciler(
            cache=self.cache,
            statuses=StatusWriter(api=self.api, remember=self.cache.put, metrics=self.metrics),
            recorder=self.recorder,
            metrics=self.metrics,
            enqueue=self.enqueued.append,
            template="t1",
            now=self.clock.now,
        )

    def put_runtime(
        self, name: str = "default", *, is_default: bool = True, **spec: Any
    ) -> dict[str, Any]:
        """Have an InferenceRuntime say something."""
        path = kinds.RUNTIME.path(name=name)
        status = self.api.objects.get(path, {}).get("status", {})
        annotations = {conventions.ANNOTATION_DEFAULT_RUNTIME: "true"} if is_default else {}
        manifest = {
            "apiVersion": conventions.API_VERSION,
            "kind": conventions.RUNTIME_KIND,
            "metadata": {"name": name, "annotations": annotations, "generation": 1},
            "spec": {"image": RUNTIME_IMAGE} | spec,
            "status": status,
        }
        stored = self.api.put(path, manifest)
        self.cache.put(kinds.RUNTIME, stored)
        return stored

    def put_gateway(self, name: str, revision: str, **spec: Any) -> ObjectKey:
        """Have a Ready gateway with a revision."""
        manifest = live_gateway_manifest(name, **spec)
        ready = {"type": "Ready", "status": "True", "reason": "Serving"}
        manifest["status"] = {
            "observedGeneration": 1,
            "conditions": [ready | {"lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "runtime": {"name": "default", "revision": revision, "readyBefore": True},
        }
        self.cache.put(kinds.GATEWAY, self.api.put(kinds.GATEWAY.path("demo", name), manifest))
        key = ObjectKey("demo", name)
        self.cache.fleet.mark_judged(key)
        return key

    async def post_events(self) -> None:
        """Have the recorder post what it was told."""
        task = asyncio.create_task(self.recorder.run())
        await asyncio.sleep(0.01)
        task.cancel()

    def status(self, name: str = "default") -> dict[str, Any]:
        """What is reported."""
        status: dict[str, Any] = self.api.objects[kinds.RUNTIME.path(name=name)]["status"]
        return status

    def target(self) -> str:
        """The revision that gateways should have."""
        return str(self.status()["rollout"]["target"]["id"])


@pytest.fixture
async def harness() -> Harness:
    """A runtime with ten gateways on it, all up to date."""
    harness = Harness()
    harness.put_runtime()
    await harness.reconcile(DEFAULT)
    for number in range(10):
        harness.put_gateway(f"g{number}", harness.target())
    await harness.reconcile(DEFAULT)
    harness.enqueued.clear()
    harness.api.requests.clear()
    return harness


async def test_each_of_two_default_runtimes_says_so() -> None:
    """With the reason of its own that people look for; a third one is not concerned."""
    harness = Harness()
    for name, is_default in (("a", True), ("b", True), ("c", False)):
        harness.put_runtime(name, is_default=is_default)
    reasons: dict[str, str] = {}
    for name in ("a", "b", "c"):
        await harness.reconcile(ObjectKey("", name))
        reasons[name] = harness.status(name)["conditions"][0]["reason"]
    assert reasons == {"a": "AmbiguousDefault", "b": "AmbiguousDefault", "c": "Accepted"}


async def test_a_settled_fleet_is_no_news(harness: Harness) -> None:
    """No write, nobody is bothered, and no need to come back."""
    assert await harness.reconcile(DEFAULT) == Outcome()
    assert (harness.enqueued, harness.api.writes()) == ([], [])
    status = harness.status()
    assert (status["gateways"], status["updated"]) == (10, 10)


async def test_a_change_is_written_down_before_anybody_moves(harness: Harness) -> None:
    """If it cannot be, nobody is told, and the next try finds everything as it was."""
    harness.put_runtime(image="other:1")
    path = kinds.RUNTIME.path("", "default", "status")
    harness.api.failures["PATCH", path] = [ApiError("etcd is slow", status=503)]
    with pytest.raises(ApiError):
        await harness.reconcile(DEFAULT)
    assert harness.enqueued == []
    await harness.reconcile(DEFAULT)
    assert len(harness.enqueued) == 10  # those that have to wait say so
    assert harness.status()["rollout"]["wave"] == 1


async def test_a_wave_concerns_only_those_that_may_move_now(harness: Harness) -> None:
    """The others were told already, when the rollout began."""
    harness.put_runtime(image="other:1", rollout={"soak": "30s"})
    await harness.reconcile(DEFAULT)
    cutoff = harness.status()["rollout"]["cutoff"]
    census = harness.cache.fleet.census("default", is_default=True)
    (first,) = [it.key for it in census if it.rank < cutoff]
    harness.put_gateway(first.name, harness.target())
    outcome = await harness.reconcile(DEFAULT)
    assert outcome.again_seconds == 30
    harness.clock.seconds += 31
    harness.enqueued.clear()
    await harness.reconcile(DEFAULT)
    assert harness.status()["rollout"]["wave"] == 2
    assert len(harness.enqueued) == 4
    assert first not in harness.enqueued


async def test_gateways_of_other_runtimes_are_not_counted(harness: Harness) -> None:
    """Nor those on their way out."""
    harness.put_gateway("other", "", runtimeRef={"name": "gpu"})
    path = kinds.GATEWAY.path("demo", "g0")
    going = harness.api.objects[path]
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    harness.cache.put(kinds.GATEWAY, harness.api.put(path, going))
    await harness.reconcile(DEFAULT)
    assert harness.status()["gateways"] == 9


async def test_an_invalid_spec_moves_nobody(harness: Harness) -> None:
    """What was written down stays."""
    before = harness.status()["rollout"]
    harness.put_runtime(image="a b")
    await harness.reconcile(DEFAULT)
    assert harness.enqueued == []
    assert harness.status()["rollout"] == before
    assert harness.status()["conditions"][0]["reason"] == "InvalidSpec"


@pytest.mark.pain(12)
async def test_steps_and_holds_are_told_as_events(harness: Harness) -> None:
    """About an object without a namespace, in the namespace that Kubernetes has for these."""
    harness.put_runtime(image="other:1")
    await harness.reconcile(DEFAULT)
    for number in range(10):
        key = harness.put_gateway(f"g{number}", harness.target())
        manifest = harness.cache.get(kinds.GATEWAY, key)
        assert manifest is not None
        manifest["status"]["conditions"][0] |= {"status": "False", "reason": "CrashLoop"}
        path = kinds.GATEWAY.path("demo", key.name)
        harness.cache.put(kinds.GATEWAY, harness.api.put(path, manifest))
        harness.cache.fleet.mark_judged(key)
    await harness.reconcile(DEFAULT)
    await harness.post_events()
    events = [it.body or {} for it in harness.api.requests if it.path.endswith("/events")]
    reasons = [it["reason"] for it in events]
    assert reasons == ["Accepted", "RolloutStarted", "WaveStarted", "GatewayFailing"]
    assert {it["metadata"]["namespace"] for it in events} == {"default"}
    assert {it["regarding"]["name"] for it in events} == {"default"}


@pytest.mark.pain(12)
async def test_a_rollout_is_in_the_metrics(harness: Harness) -> None:
    """Who waits, and whether it is held: an alert needs no look at the object."""

    def read() -> tuple[float | None, float | None]:
        value = harness.metrics.registry.get_sample_value
        labels = {"runtime": "default"}
        waiting = value("igw_operator_rollout_waiting_gateways", labels)
        return value("igw_operator_rollout_held", labels), waiting

    assert read() == (0, 0)
    harness.put_runtime(image="other:1", rollout={"paused": True})
    await harness.reconcile(DEFAULT)
    assert read() == (1, 10)
    harness.put_runtime(image="a b")
    await harness.reconcile(DEFAULT)
    assert read() == (0, None)
    gone = harness.api.objects.pop(kinds.RUNTIME.path(name="default"))
    harness.cache.remove(kinds.RUNTIME, gone)
    await harness.reconcile(DEFAULT)
    assert read() == (None, None)
