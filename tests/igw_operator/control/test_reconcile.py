import json
from typing import Any

import pytest

from factories import RUNTIME_IMAGE, live_gateway_manifest
from igw_operator import conventions, kinds
from igw_operator.act.apply import Applier
from igw_operator.act.attempts import Attempts
from igw_operator.act.events import EventRecorder
from igw_operator.act.prune import Pruner
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import ObjectKey
from igw_operator.control import reconcile
from igw_operator.control.outcome import Outcome, Result
from igw_operator.control.reconcile import Reconciler
from igw_operator.errors import ApiError
from igw_operator.judge.status import judge
from igw_operator.kinds import Resource
from igw_operator.metrics import Metrics
from igw_operator.plan.children import build_children
from igw_operator.plan.inputs import Capabilities, Defaults, PlanInput
from igw_operator.world.cache import Cache
from igw_operator.world.capabilities import CapabilityWatch
from igw_operator.world.freshness import Freshness
from igw_operator.world.monitoring import Monitoring
from igw_operator.world.warning_events import WarningEvents
from operator_fakes import FakeApi, FakeClock
from rollout_fleet import Fleet

PHOTOS = ObjectKey("demo", "photos")
HPA = kinds.AUTOSCALER.path("demo", "photos")
KEDAS_HPA = kinds.AUTOSCALER.path("demo", "keda-hpa-photos")
READY = "igw_operator_gateway_ready"
SCALED_OBJECT = kinds.SCALED_OBJECT.path("demo", "photos")


class Harness:
    """A reconciler over a fake API server; what it writes ends in the cache."""

    def __init__(self, template: str = "t1") -> None:
        self.clock = clock = FakeClock()
        self.api = FakeApi(clock=clock)
        self.cache = Cache()
        self.metrics = Metrics()
        attempts = Attempts(clock=clock)
        api: Any = self.api  # as the client of the world
        self.clock = clock
        runtime = {
            "apiVersion": conventions.API_VERSION,
            "kind": conventions.RUNTIME_KIND,
            "metadata": {
                "name": "default",
                "resourceVersion": "1",
                "annotations": {conventions.ANNOTATION_DEFAULT_RUNTIME: "true"},
            },
            "spec": {"image": RUNTIME_IMAGE},
        }
        path = kinds.RUNTIME.path(name="default")
        self.cache.put(kinds.RUNTIME, self.api.put(path, runtime))
        self.capabilities = CapabilityWatch(api=api, interval_seconds=60, on_change=lambda _: None)
        nobody: Any = None  # no server is known, so no client is asked
        self.monitoring = Monitoring(
            cache=self.cache,
            client=nobody,
            address="",
            interval_seconds=30,
            operator_monitor=ObjectKey("igw-system", "igw-operator"),
            enqueue=lambda _: None,
            clock=clock,
            now=clock.now,
            count_error=lambda: None,
        )
        self.reconcile = Reconciler(
            cache=self.cache,
            capabilities=self.capabilities,
            freshness=Freshness(api=api, learn=self._learn, clock=clock),
            warnings=WarningEvents(api=api, clock=clock),
            monitoring=self.monitoring,
            applier=Applier(
                api=api, remember=self.cache.put, attempts=attempts, metrics=self.metrics
            ),
            pruner=Pruner(
                api=api,
                remember=self.cache.put,
                forget=self.cache.remove,
                attempts=attempts,
                metrics=self.metrics,
            ),
            attempts=attempts,
            statuses=StatusWriter(api=api, remember=self.cache.put, metrics=self.metrics),
            recorder=EventRecorder(
                api=api, metrics=self.metrics, instance="me", now=clock.now, clock=clock
            ),
            metrics=self.metrics,
            defaults=Defaults(),
            template=template,
            now=clock.now,
            clock=clock,
        )

    def _learn(self, resource: Resource, event: str, manifest: dict[str, Any]) -> None:
        if event == "DELETED":
            self.cache.remove(resource, manifest)
        else:
            self.cache.put(resource, manifest)

    def edit(self, **spec: Any) -> None:
        """Have the gateway say something (else)."""
        self.cache.put(kinds.GATEWAY, self.edit_unseen(**spec))

    def edit_unseen(self, **spec: Any) -> dict[str, Any]:
        """Have the gateway say something else, of which no watch tells."""
        path = kinds.GATEWAY.path("demo", "photos")
        before = self.api.objects.get(path, {})
        manifest = live_gateway_manifest(**spec)
        generation = before.get("metadata", {}).get("generation", 0) + 1
        manifest["metadata"]["generation"] = generation
        status = {"status": before["status"]} if "status" in before else {}
        return self.api.put(path, manifest | status)

    def install_keda(self) -> None:
        """Have the cluster serve ScaledObjects."""
        self.capabilities.current = Capabilities(scaled_objects=True)

    def run_keda(self) -> None:
        """What KEDA does with a new ScaledObject: a finalizer, and an HPA of its own."""
        path = kinds.SCALED_OBJECT.path("demo", "photos")
        live = self.api.objects[path]
        metadata = live["metadata"] | {"finalizers": ["finalizer.keda.sh"]}
        live = self.api.put(path, live | {"metadata": metadata})
        self.cache.put(kinds.SCALED_OBJECT, live)
        owner = {"kind": "ScaledObject", "uid": metadata["uid"], "controller": True}
        hpa = {
            "kind": "HorizontalPodAutoscaler",
            "metadata": {
                "name": "keda-hpa-photos",
                "namespace": "demo",
                "labels": metadata["labels"],
                "annotations": metadata["annotations"],
                "ownerReferences": [owner],
            },
            "spec": {"scaleTargetRef": live["spec"]["scaleTargetRef"]},
        }
        self.cache.put(kinds.AUTOSCALER, self.api.put(KEDAS_HPA, hpa))

    def drop(self, resource: Resource, name: str) -> None:
        """An object is gone, and the watch has told so."""
        path = resource.path("demo", name)
        live = self.api.objects.pop(path)
        self.api.version += 1
        metadata = live["metadata"] | {"resourceVersion": str(self.api.version)}
        self.cache.remove(resource, live | {"metadata": metadata})

    def edit_runtime(self, *, status: dict[str, Any] | None = None, **spec: Any) -> None:
        """Have the runtime say something else."""
        runtime = self.cache.get(kinds.RUNTIME, ObjectKey("", "default"))
        assert runtime is not None
        changed = {**runtime, "spec": {**runtime["spec"], **spec}, "status": status or {}}
        stored = self.api.put(kinds.RUNTIME.path(name="default"), changed)
        self.cache.put(kinds.RUNTIME, stored)

    def status(self) -> dict[str, Any]:
        """What is reported."""
        status: dict[str, Any] = self.api.objects[kinds.GATEWAY.path("demo", "photos")]["status"]
        return status

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the gateway as it is reported."""
        conditions = self.api.objects[kinds.GATEWAY.path("demo", "photos")]["status"]["conditions"]
        return next((it for it in conditions if it["type"] == kind), {})

    def writes(self) -> list[tuple[str, str]]:
        """Method and path of the writes since the last call."""
        writes = [(it.method, it.path) for it in self.api.writes()]
        self.api.requests.clear()
        return writes


@pytest.fixture
def harness() -> Harness:
    """A gateway that nobody has looked at."""
    harness = Harness()
    harness.edit()
    return harness


async def test_the_second_pass_finds_nothing_to_do(harness: Harness) -> None:
    """One write for each child and one for the status; then none."""
    await harness.reconcile(PHOTOS)
    first = harness.writes()
    assert len(first) == len(set(first))
    assert first[-1][1].endswith("/inferencegateways/photos/status")
    await harness.reconcile(PHOTOS)
    assert harness.writes() == []


def run_collector(harness: Harness, config: str, replicas: int) -> None:
    """Have a ReplicaSet of the collector with so many pods, which mount that configuration."""
    name = "photos-collector"
    deployment = harness.api.objects[kinds.DEPLOYMENT.path("demo", name)]
    template = {"spec": {"volumes": [{"name": "config", "configMap": {"name": config}}]}}
    metadata = {
        "name": f"{name}-6d4cf56db6",
        "namespace": "demo",
        "labels": deployment["metadata"]["labels"],
        "ownerReferences": [
            {"kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}
        ],
    }
    manifest = {
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {"replicas": replicas, "template": template},
        "status": {"replicas": replicas},
    }
    path = kinds.REPLICA_SET.path("demo", metadata["name"])
    harness.cache.put(kinds.REPLICA_SET, harness.api.put(path, manifest))


def collector_configs(harness: Harness) -> set[str]:
    """Names of the collector's configurations that are there."""
    prefix = kinds.CONFIG_MAP.path("demo", "photos-collector-")
    paths = {path for path in harness.api.objects if path.startswith(prefix)}
    return {path.rpartition("/")[2] for path in paths}


def resample(harness: Harness, percent: float) -> None:
    """Have the collector want another configuration."""
    harness.edit(observability={"tracing": {"samplingPercent": percent}})


async def test_a_configuration_goes_when_the_last_pod_that_mounts_it_has_gone(
    harness: Harness,
) -> None:
    """The old collector may have to start again until the new one is ready."""
    await harness.reconcile(PHOTOS)
    (old,) = collector_configs(harness)
    run_collector(harness, old, 1)
    resample(harness, 2)
    for _ in range(3):
        await harness.reconcile(PHOTOS)
        assert len(collector_configs(harness)) == 2
    run_collector(harness, old, 0)
    await harness.reconcile(PHOTOS)
    (new,) = collector_configs(harness)
    assert new != old


async def test_a_configuration_that_no_pod_mounts_goes_at_once(harness: Harness) -> None:
    """In the pass that has applied the next one; no event has to come for it."""
    await harness.reconcile(PHOTOS)
    resample(harness, 2)
    await harness.reconcile(PHOTOS)
    assert len(collector_configs(harness)) == 1


async def test_a_configuration_stays_where_the_next_template_is_refused(harness: Harness) -> None:
    """The Deployment goes on with the one before."""
    await harness.reconcile(PHOTOS)
    path = kinds.DEPLOYMENT.path("demo", "photos-collector")
    harness.api.failures["PATCH", path] = [ApiError("you may not", status=403)]
    resample(harness, 2)
    await harness.reconcile(PHOTOS)
    assert len(collector_configs(harness)) == 2


async def test_a_gateway_that_is_gone_needs_nothing(harness: Harness) -> None:
    """Its metrics go too."""
    await harness.reconcile(PHOTOS)
    labels = {"namespace": "demo", "gateway": "photos"}
    sample = harness.metrics.registry.get_sample_value
    assert sample(conventions.METRIC_DESIRED_REPLICAS, labels) == 3
    assert sample(READY, labels) == 0
    harness.writes()
    path = kinds.GATEWAY.path("demo", "photos")
    harness.cache.remove(kinds.GATEWAY, harness.api.objects[path])
    outcome = await harness.reconcile(PHOTOS)
    assert outcome.result is Result.DONE
    assert harness.writes() == []
    assert sample(conventions.METRIC_DESIRED_REPLICAS, labels) is None
    assert sample(READY, labels) is None


async def test_the_metric_of_a_ready_gateway_says_what_its_status_says(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 with Ready True, and 0 again with anything else."""
    verdict = {"status": "True"}

    def judge_ready(*arguments: Any) -> dict[str, Any]:
        status = judge(*arguments)
        next(it for it in status["conditions"] if it["type"] == "Ready").update(verdict)
        return status

    monkeypatch.setattr(reconcile, "judge", judge_ready)
    labels = {"namespace": "demo", "gateway": "photos"}
    for text, value in (("True", 1), ("Unknown", 0), ("True", 1), ("False", 0)):
        verdict["status"] = text
        await harness.reconcile(PHOTOS)
        assert harness.metrics.registry.get_sample_value(READY, labels) == value


async def test_an_invalid_edit_leaves_the_metric_of_what_goes_on_serving(harness: Harness) -> None:
    """Else one alert would say that the operator is blind, and another would be disarmed."""
    await harness.reconcile(PHOTOS)
    for spec in ({"model": {"name": 3}}, {"runtimeRef": {"name": "nowhere"}}):
        harness.edit(**spec)
        await harness.reconcile(PHOTOS)
        assert harness.condition("Stalled")["status"] == "True"
        labels = {"namespace": "demo", "gateway": "photos"}
        sample = harness.metrics.registry.get_sample_value
        assert sample(conventions.METRIC_DESIRED_REPLICAS, labels) == 3


async def test_a_child_that_fails_does_not_stop_its_siblings(harness: Harness) -> None:
    """The rest is written, the failure is reported, and only that child waits to be tried again."""
    path = kinds.SERVICE.path("demo", "photos")
    harness.api.failures["PATCH", path] = [ApiError("etcd is slow", status=503)]
    outcome = await harness.reconcile(PHOTOS)
    assert outcome.result is Result.FAILED
    assert kinds.DEPLOYMENT.path("demo", "photos") in harness.api.objects
    assert "etcd is slow" in harness.condition("Ready")["message"]
    harness.writes()
    assert await harness.reconcile(PHOTOS) == outcome, "an event comes too early"
    assert harness.writes() == []
    harness.clock.seconds += 1
    outcome = await harness.reconcile(PHOTOS)
    assert outcome.result is Result.WAITING
    assert path in harness.api.objects


async def test_a_slow_api_server_does_not_keep_a_pass(harness: Harness) -> None:
    """After a while it is said what is missing; next time those come first that were not tried."""
    paths = [kinds.SERVICE_ACCOUNT.path("demo", "photos"), kinds.SERVICE.path("demo", "photos")]
    for path in paths:
        harness.api.failures["PATCH", path] = [ApiError("no answer", status=0)] * 2
    harness.api.seconds["PATCH"] = 15.0
    outcome = await harness.reconcile(PHOTOS)
    first = {path for method, path in harness.writes() if method == "PATCH"}
    assert outcome.result is Result.FAILED
    assert (
        "Deployment photos was refused: the API server took more than 45 s"
        in (harness.condition("Ready")["message"])
    )
    harness.clock.seconds += 1
    await harness.reconcile(PHOTOS)
    second = {path for method, path in harness.writes() if method == "PATCH"}
    assert first & second == {kinds.GATEWAY.path("demo", "photos", "status")}
    for _ in range(6):
        harness.clock.seconds += 10
        await harness.reconcile(PHOTOS)
    assert {*paths, kinds.DEPLOYMENT.path("demo", "photos")} <= harness.api.objects.keys()


async def test_a_fight_over_a_field_is_left_to_people(harness: Harness) -> None:
    """Put right at once five times, then ever more seldom; the condition says who does it."""
    await harness.reconcile(PHOTOS)
    path = kinds.SERVICE.path("demo", "photos")
    repairs = []
    for second in range(200):
        service = harness.api.objects[path]
        if service["spec"]["type"] != "NodePort":
            owner = {"manager": "intruder", "fieldsV1": {"f:spec": {"f:type": {}}}}
            metadata = service["metadata"] | {"managedFields": [owner]}
            spec = service["spec"] | {"type": "NodePort"}
            service = harness.api.put(path, service | {"metadata": metadata, "spec": spec})
            harness.cache.put(kinds.SERVICE, service)
        harness.writes()
        await harness.reconcile(PHOTOS)
        if ("PATCH", path) in harness.writes():
            repairs.append(second)
        else:
            stalled = harness.condition("Stalled")
            assert stalled["reason"] == "FieldContested"
            assert "Service photos: spec.type is set by intruder again" in stalled["message"]
        harness.clock.seconds += 1
    assert repairs == [0, 1, 2, 3, 4, 14, 34, 74, 154]


async def test_an_autoscaler_goes_before_its_deployment_gets_a_number(harness: Harness) -> None:
    """Or the two would fight."""
    await harness.reconcile(PHOTOS)
    harness.writes()
    harness.edit(replicas=2)
    await harness.reconcile(PHOTOS)
    paths = [path for _, path in harness.writes()]
    autoscaler = kinds.AUTOSCALER.path("demo", "photos")
    assert paths.index(autoscaler) < paths.index(kinds.DEPLOYMENT.path("demo", "photos"))
    assert autoscaler not in harness.api.objects


async def test_a_number_waits_for_an_autoscaler_that_cannot_be_removed(harness: Harness) -> None:
    """Each would undo the other, for ever; the rest of the edit is applied, and Ready says why."""
    await harness.reconcile(PHOTOS)
    autoscaler = kinds.AUTOSCALER.path("demo", "photos")
    harness.api.failures["DELETE", autoscaler] = [ApiError("you may not", status=403)]
    harness.edit(replicas=2, serving={"maxBatch": 4})
    harness.writes()
    outcome = await harness.reconcile(PHOTOS)
    deployment = harness.api.objects[kinds.DEPLOYMENT.path("demo", "photos")]
    assert "replicas" not in deployment["spec"]
    assert kinds.CONFIG_MAP.path("demo", "photos-config") in [it[1] for it in harness.writes()]
    assert outcome.result is Result.REFUSED
    assert harness.condition("Stalled")["reason"] == "ApplyForbidden"
    assert (
        "HorizontalPodAutoscaler photos is gone: you may not"
        in (harness.condition("Ready")["message"])
    )
    harness.clock.seconds += 10
    await harness.reconcile(PHOTOS)
    deployment = harness.api.objects[kinds.DEPLOYMENT.path("demo", "photos")]
    assert deployment["spec"]["replicas"] == 2
    assert harness.condition("Stalled") == {}


async def test_a_fixed_number_does_not_fight_an_autoscaler_of_somebody(harness: Harness) -> None:
    """The number is left to it, other drift is repaired, and two conditions name it."""
    harness.edit(replicas=2)
    await harness.reconcile(PHOTOS)
    path = kinds.DEPLOYMENT.path("demo", "photos")
    rival = {
        "metadata": {"name": "mine", "namespace": "demo"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "photos"}},
    }
    harness.api.put(kinds.AUTOSCALER.path("demo", "mine"), rival)
    deployment = harness.api.objects[path]
    scaled = deployment | {"spec": deployment["spec"] | {"replicas": 5}}
    harness.cache.put(kinds.DEPLOYMENT, harness.api.put(path, scaled))
    harness.writes()
    outcome = await harness.reconcile(PHOTOS)
    assert outcome.result is Result.REFUSED
    assert [it[1].rpartition("/")[2] for it in harness.writes()] == ["status"]
    for kind in ("Stalled", "ScalingReady"):
        assert harness.condition(kind)["reason"] == "AutoscalerLeftOver"
        assert "HorizontalPodAutoscaler mine sets" in harness.condition(kind)["message"]
    drifted = scaled | {"spec": scaled["spec"] | {"minReadySeconds": 99}}
    harness.cache.put(kinds.DEPLOYMENT, harness.api.put(path, drifted))
    await harness.reconcile(PHOTOS)
    assert harness.api.objects[path]["spec"]["minReadySeconds"] != 99
    assert "replicas" not in harness.api.objects[path]["spec"]
    del harness.api.objects[kinds.AUTOSCALER.path("demo", "mine")]
    await harness.reconcile(PHOTOS)
    assert harness.api.objects[path]["spec"]["replicas"] == 2
    assert harness.condition("Stalled") == {}


async def test_an_hpa_goes_before_keda_comes(harness: Harness) -> None:
    """KEDA refuses a Deployment that an HPA scales; in one pass, with no gap to speak of."""
    harness.install_keda()
    await harness.reconcile(PHOTOS)
    harness.writes()
    harness.edit(scaling={"engine": "KEDA"})
    await harness.reconcile(PHOTOS)
    writes = [it for it in harness.writes() if it[1] in {HPA, SCALED_OBJECT}]
    assert writes == [("DELETE", HPA), ("PATCH", SCALED_OBJECT)]


async def test_keda_waits_for_an_hpa_that_cannot_be_removed(harness: Harness) -> None:
    """Else both would scale."""
    harness.install_keda()
    await harness.reconcile(PHOTOS)
    harness.api.failures["DELETE", HPA] = [ApiError("you may not", status=403)]
    harness.edit(scaling={"engine": "KEDA"})
    await harness.reconcile(PHOTOS)
    assert SCALED_OBJECT not in harness.api.objects
    assert harness.condition("ScalingReady")["reason"] == "ApplyForbidden"
    harness.clock.seconds += 10
    await harness.reconcile(PHOTOS)
    assert SCALED_OBJECT in harness.api.objects
    assert HPA not in harness.api.objects


@pytest.mark.parametrize("spec", [{}, {"replicas": 2}], ids=["an HPA", "a fixed number"])
@pytest.mark.pain(4)
async def test_what_follows_keda_waits_until_it_has_let_go(
    harness: Harness, spec: dict[str, Any]
) -> None:
    """First its finalizer, then the HPA that it made (kserve#5196)."""
    harness.install_keda()
    harness.edit(scaling={"engine": "KEDA"})
    await harness.reconcile(PHOTOS)
    harness.run_keda()
    deployment = kinds.DEPLOYMENT.path("demo", "photos")
    harness.edit(**spec)
    harness.writes()

    for _ in range(2):
        outcome = await harness.reconcile(PHOTOS)
        assert outcome.result is Result.FAILED, "it has to look again by itself"
        assert "deletionTimestamp" in harness.api.objects[SCALED_OBJECT]["metadata"]
        assert HPA not in harness.api.objects
        assert harness.api.objects[deployment]["spec"]["replicas"] == 3
    assert [it for it in harness.writes() if it[1] == SCALED_OBJECT] == [("DELETE", SCALED_OBJECT)]

    harness.drop(kinds.SCALED_OBJECT, "photos")
    await harness.reconcile(PHOTOS)
    assert HPA not in harness.api.objects
    assert harness.api.objects[deployment]["spec"]["replicas"] == 3
    assert "keda-hpa-photos" in harness.condition("ScalingReady")["message"]

    harness.drop(kinds.AUTOSCALER, "keda-hpa-photos")
    await harness.reconcile(PHOTOS)
    assert (HPA in harness.api.objects) == (not spec)
    assert harness.api.objects[deployment]["spec"]["replicas"] == spec.get("replicas", 3)


async def test_what_keda_made_is_its_own(harness: Harness) -> None:
    """It carries our labels, and is neither pruned nor waited for."""
    harness.install_keda()
    harness.edit(scaling={"engine": "KEDA"})
    await harness.reconcile(PHOTOS)
    harness.run_keda()
    harness.writes()
    await harness.reconcile(PHOTOS)
    assert harness.writes() == []
    assert KEDAS_HPA in harness.api.objects


@pytest.mark.parametrize(
    "error",
    [
        ApiError("unable to create new content in namespace demo: being terminated", status=403),
        ApiError('namespaces "demo" not found', status=404),
    ],
    ids=["terminating", "gone"],
)
async def test_a_namespace_that_goes_is_left_alone(harness: Harness, error: ApiError) -> None:
    """Its gateway goes with it: one refusal is enough, and nobody is told of trouble."""
    harness.api.failures["PATCH", kinds.SERVICE.path("demo", "photos")] = [error]
    outcome = await harness.reconcile(PHOTOS)
    assert outcome == Outcome()
    assert harness.writes()[-1] == ("PATCH", kinds.SERVICE.path("demo", "photos"))


async def test_a_child_of_a_deleted_namesake_is_waited_for(harness: Harness) -> None:
    """The garbage collector takes it: no alarm, no touch, and another look soon."""
    await harness.reconcile(PHOTOS)
    path = kinds.GATEWAY.path("demo", "photos")
    again = live_gateway_manifest()
    again["metadata"]["uid"] = "another"
    harness.cache.put(kinds.GATEWAY, harness.api.put(path, again))
    harness.writes()
    outcome = await harness.reconcile(PHOTOS)
    assert outcome.result is Result.FAILED
    assert harness.writes() == [("PATCH", f"{path}/status")]
    assert harness.condition("Stalled") == {}
    reconciling = harness.condition("Reconciling")
    assert (reconciling["status"], reconciling["reason"]) == ("True", "Applying")
    assert "waits for the garbage collector" in reconciling["message"]


async def test_a_bad_spec_is_reported_and_what_serves_stays(harness: Harness) -> None:
    """Stalled with the field; not one child is touched."""
    await harness.reconcile(PHOTOS)
    harness.writes()
    harness.edit(runtimeRef={"name": "nowhere"})
    await harness.reconcile(PHOTOS)
    assert [path.rpartition("/")[2] for _, path in harness.writes()] == ["status"]
    assert harness.condition("Stalled")["status"] == "True"
    assert "spec.runtimeRef.name" in harness.condition("Stalled")["message"]


@pytest.mark.pain(14)
async def test_what_serves_is_still_counted_while_the_spec_cannot_be_read(
    harness: Harness,
) -> None:
    """Or the alerts would take an outage for a gateway that is meant to be silent."""
    await harness.reconcile(PHOTOS)
    name = conventions.METRIC_DESIRED_REPLICAS
    labels = {"namespace": "demo", "gateway": "photos"}
    before = harness.metrics.registry.get_sample_value(name, labels)
    harness.edit(replicas="many")
    await harness.reconcile(PHOTOS)
    assert harness.condition("Stalled")["reason"] == "InvalidSpec"
    assert before == harness.metrics.registry.get_sample_value(name, labels) == 3


async def test_a_bug_of_ours_is_not_reported_as_success(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status says that this generation is not in place, and the error goes up."""

    def crash(_: object) -> list[dict[str, Any]]:
        message = "a bug"
        raise RuntimeError(message)

    monkeypatch.setattr(reconcile, "build_children", crash)
    with pytest.raises(RuntimeError, match="a bug"):
        await harness.reconcile(PHOTOS)
    assert harness.condition("Ready")["status"] == "False"
    assert "the operator failed (RuntimeError: a bug)" in harness.condition("Ready")["message"]


async def test_nothing_is_deleted_in_the_name_of_an_old_spec(harness: Harness) -> None:
    """kuberay#715: a stale cache wants less than the live gateway; the pass begins anew."""
    harness.edit(networkPolicy={"enabled": False})
    await harness.reconcile(PHOTOS)
    policies = [path for path in harness.api.objects if "networkpolicies" in path]
    assert policies == []
    harness.edit_unseen()
    fresh = Harness()
    fresh.cache.put(kinds.GATEWAY, harness.api.objects[kinds.GATEWAY.path("demo", "photos")])
    fresh.edit()
    await fresh.reconcile(PHOTOS)
    policy = next(path for path in fresh.api.objects if "networkpolicies" in path)
    harness.cache.put(kinds.NETWORK_POLICY, harness.api.put(policy, fresh.api.objects[policy]))
    harness.writes()
    assert await harness.reconcile(PHOTOS) == Outcome(again_seconds=0.0)
    assert harness.writes() == []
    await harness.reconcile(PHOTOS)
    assert policy in harness.api.objects


async def test_nothing_is_applied_in_the_name_of_an_old_spec(harness: Harness) -> None:
    """Neither the gateway's nor the runtime's: an old image would restart every pod."""
    await harness.reconcile(PHOTOS)
    path = kinds.DEPLOYMENT.path("demo", "photos")
    runtime_path = kinds.RUNTIME.path(name="default")
    runtime = harness.api.objects[runtime_path]
    harness.api.put(runtime_path, runtime | {"spec": {"image": "igw.dev/runtime:9"}})
    harness.cache.remove(kinds.DEPLOYMENT, harness.api.objects.pop(path))
    harness.writes()
    harness.clock.seconds += 60
    assert await harness.reconcile(PHOTOS) == Outcome(again_seconds=0.0)
    assert harness.writes() == []
    await harness.reconcile(PHOTOS)
    containers = harness.api.objects[path]["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == "igw.dev/runtime:9"


async def test_a_gateway_that_vanished_unseen_gets_nothing(harness: Harness) -> None:
    """Its children would be orphans from the start."""
    path = kinds.GATEWAY.path("demo", "photos")
    del harness.api.objects[path]
    assert await harness.reconcile(PHOTOS) == Outcome(again_seconds=0.0)
    assert await harness.reconcile(PHOTOS) == Outcome()
    assert harness.writes() == []


async def test_a_report_on_an_old_spec_is_not_written(harness: Harness) -> None:
    """The patch carries the version that was judged; refused, the pass begins anew."""
    await harness.reconcile(PHOTOS)
    path = kinds.GATEWAY.path("demo", "photos", "status")
    harness.edit(model={"name": "nonesuch-at-all"}, runtimeRef={"name": "nowhere"})
    harness.edit_unseen()
    harness.api.failures["PATCH", path] = [ApiError("has been modified", status=409)]
    assert await harness.reconcile(PHOTOS) == Outcome(again_seconds=0.0)
    outcome = await harness.reconcile(PHOTOS)
    assert outcome.result is Result.WAITING
    assert harness.condition("Stalled") == {}


async def test_a_report_that_is_refused_for_nothing_is_tried_again(harness: Harness) -> None:
    """A conflict without a newer version is an error like any other."""
    path = kinds.GATEWAY.path("demo", "photos", "status")
    harness.api.failures["PATCH", path] = [ApiError("conflict", status=409)]
    with pytest.raises(ApiError, match="conflict"):
        await harness.reconcile(PHOTOS)


def _revision(harness: Harness, path: str = "photos") -> dict[str, Any]:
    """What the Deployment says it was built from."""
    deployment = harness.api.objects[kinds.DEPLOYMENT.path("demo", path)]
    record = deployment["metadata"]["annotations"][conventions.ANNOTATION_REVISION]
    return dict(json.loads(record))


async def test_the_status_says_which_revision_runs(harness: Harness) -> None:
    """As it is written on the Deployment."""
    await harness.reconcile(PHOTOS)
    served = harness.status()["runtime"]
    assert served["revision"] == _revision(harness)["id"]
    assert served["image"] == RUNTIME_IMAGE
    assert (served["readyBefore"], served["served"]) == (False, False)


async def test_a_runtime_whose_rollout_has_not_begun_moves_nobody(harness: Harness) -> None:
    """Its spec alone decides nothing: the runtime's own pass writes down who may go."""
    await harness.reconcile(PHOTOS)
    harness.writes()
    harness.edit_runtime(image="other:1")
    await harness.reconcile(PHOTOS)
    assert harness.writes() == []
    assert _revision(harness)["image"] == RUNTIME_IMAGE


async def test_who_waits_for_a_wave_is_built_from_what_it_has(harness: Harness) -> None:
    """An owner's edit too; the status says what it waits for, and REASON does not mind."""
    await harness.reconcile(PHOTOS)
    fleet = Fleet(1, waves=[{"percent": 10}])
    fleet.image = RUNTIME_IMAGE
    fleet.run(2)
    fleet.image = "other:1"
    fleet.look()
    rollout = fleet.status["rollout"] | {"cutoff": 0}
    harness.edit_runtime(image="other:1", status={"rollout": rollout})
    harness.edit(serving={"maxBatch": 4})
    await harness.reconcile(PHOTOS)
    deployment = harness.api.objects[kinds.DEPLOYMENT.path("demo", "photos")]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == RUNTIME_IMAGE
    held = harness.condition("RolloutHeld")
    assert (held["status"], held["reason"]) == ("True", "AwaitingWave")
    assert "other:1" in held["message"]
    assert harness.status()["reason"] != "AwaitingWave"
    assert harness.status()["runtime"]["image"] == RUNTIME_IMAGE
    harness.edit_runtime(image="other:1", status={"rollout": rollout | {"cutoff": 2**48}})
    await harness.reconcile(PHOTOS)
    assert _revision(harness)["image"] == "other:1"
    assert harness.condition("RolloutHeld")["status"] == "False"


async def test_a_new_operator_restarts_nobody_and_says_what_it_would_do(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template stays, byte for byte; an edit of the objectives does not release it."""
    await harness.reconcile(PHOTOS)
    path = kinds.DEPLOYMENT.path("demo", "photos")
    before = harness.api.objects[path]["spec"]["template"]

    def build(inputs: PlanInput) -> list[dict[str, Any]]:
        children = build_children(inputs)
        for child in children:
            if child["kind"] == "Deployment":
                child["spec"]["template"]["spec"]["shareProcessNamespace"] = True
        return children

    monkeypatch.setattr(reconcile, "build_children", build)
    harness.writes()
    await harness.reconcile(PHOTOS)
    assert [path.rpartition("/")[2] for _, path in harness.writes()] == ["status"]
    assert harness.condition("RolloutHeld")["reason"] == "OperatorChange"
    harness.edit(slo={"latency": {"threshold": "250ms"}})
    await harness.reconcile(PHOTOS)
    assert harness.api.objects[path]["spec"]["template"] == before
    harness.edit(serving={"maxBatch": 4})
    await harness.reconcile(PHOTOS)
    assert harness.api.objects[path]["spec"]["template"]["spec"]["shareProcessNamespace"] is True


async def test_a_revision_that_somebody_took_away_is_known_by_its_looks(harness: Harness) -> None:
    """The annotation comes back as it was, and nobody moves for it."""
    await harness.reconcile(PHOTOS)
    path = kinds.DEPLOYMENT.path("demo", "photos")
    before = harness.api.objects[path]
    annotations = dict(before["metadata"]["annotations"])
    del annotations[conventions.ANNOTATION_REVISION]
    stripped = {**before, "metadata": {**before["metadata"], "annotations": annotations}}
    harness.cache.put(kinds.DEPLOYMENT, harness.api.put(path, stripped))
    await harness.reconcile(PHOTOS)
    after = harness.api.objects[path]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["spec"]["template"] == before["spec"]["template"]
