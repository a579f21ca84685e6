from typing import Any

import pytest

from factories import a_gateway, a_runtime
from igw_operator import conventions, kinds
from igw_operator.act.apply import Applied, Applier
from igw_operator.act.attempts import Attempts
from igw_operator.act.prune import Pruner, find_in_the_way, find_unwanted
from igw_operator.act.status import StatusWriter, build_merge_patch
from igw_operator.errors import ApiError, OwnedByOtherError, PredecessorError
from igw_operator.metrics import Metrics
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import stamp
from igw_operator.plan.inputs import Capabilities, PlanInput
from operator_fakes import FakeApi, FakeClock

GATEWAY = a_gateway()
CHILDREN = build_children(PlanInput(gateway=GATEWAY, runtime=a_runtime()))
PATH = "/api/v1/namespaces/demo/services/photos"
(SERVICE,) = (
    it for it in CHILDREN if (it["kind"], it["metadata"]["name"]) == ("Service", "photos")
)


@pytest.fixture
def api() -> FakeApi:
    """An API server without objects."""
    return FakeApi()


@pytest.fixture
def remembered() -> list[dict[str, Any]]:
    """What the cache was told."""
    return []


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def applier(api: FakeApi, remembered: list[dict[str, Any]], clock: FakeClock) -> Applier:
    """The applier under test."""
    return Applier(
        api=api,
        remember=lambda _, it: remembered.append(it),
        attempts=Attempts(clock=clock),
        metrics=Metrics(),
    )


async def apply(applier: Applier, live: dict[str, Any] | None) -> Applied | None:
    """Apply the Service of the gateway."""
    return await applier.apply(SERVICE, live, owner=GATEWAY, siblings=CHILDREN, confirm=allow)


async def allow() -> None:
    """Forbid nothing."""


async def test_a_missing_child_is_made(
    applier: Applier, api: FakeApi, remembered: list[dict[str, Any]]
) -> None:
    """At once, without force, strictly validated, and the answer is remembered."""
    await apply(applier, None)
    (write,) = api.requests
    assert (write.method, write.path) == ("PATCH", PATH)
    assert write.query == {
        "fieldManager": conventions.FIELD_MANAGER,
        "fieldValidation": "Strict",
    }
    assert remembered == [api.objects[PATH]]


async def test_what_the_cache_missed_is_not_written_again(
    applier: Applier, api: FakeApi, remembered: list[dict[str, Any]]
) -> None:
    """The cache is behind, or may not list: what is there is as it should be, and is remembered."""
    await apply(applier, None)
    before = dict(api.objects)
    remembered.clear()
    assert await apply(applier, None) is None
    assert api.objects == before
    assert remembered == [api.objects[PATH]]


async def test_a_conflict_with_nothing_is_no_end(applier: Applier, api: FakeApi) -> None:
    """What was in the way has gone, or the server takes no version of what is not there."""
    api.failures["PATCH", PATH] = [ApiError("no such version", status=409, reason="Conflict")]
    assert await apply(applier, None) is not None
    assert api.objects[PATH]["spec"] == SERVICE["spec"]
    assert [it.method for it in api.requests] == ["PATCH", "GET", "PATCH"]


async def test_an_object_of_somebody_else_is_not_touched(
    applier: Applier, api: FakeApi, remembered: list[dict[str, Any]]
) -> None:
    """Its creation conflicts with whatever is there."""
    api.put(PATH, {"metadata": {"name": "photos", "namespace": "demo"}, "spec": {}})
    before = dict(api.objects)
    with pytest.raises(OwnedByOtherError, match="not ours"):
        await apply(applier, None)
    assert api.objects == before
    assert remembered == []


async def test_an_update_fits_only_the_object_that_was_judged(
    applier: Applier, api: FakeApi
) -> None:
    """By force, and with its uid."""
    await apply(applier, None)
    live = {**api.objects[PATH], "spec": {}}
    api.requests.clear()
    applied = await apply(applier, live)
    assert applied is not None
    (write,) = api.writes()
    assert write.query["force"] == "true"
    assert write.body is not None
    assert write.body["metadata"]["uid"] == live["metadata"]["uid"]


async def test_a_refusal_without_anybody_to_blame_is_passed_on(
    applier: Applier, api: FakeApi
) -> None:
    """No second attempt where none can help."""
    await apply(applier, None)
    live = {**api.objects[PATH], "spec": {}}
    api.failures["PATCH", PATH] = [ApiError("invalid", status=422)]
    with pytest.raises(ApiError, match="invalid"):
        await apply(applier, live)


def test_only_our_own_children_are_unwanted() -> None:
    """Ours by label *and* by uid, and not desired."""
    owner = [{"uid": GATEWAY.uid, "kind": "InferenceGateway", "name": "photos"}]
    label = {conventions.LABEL_MANAGED_BY: conventions.MANAGED_BY}

    def child(name: str, labels: dict[str, str], owners: list[dict[str, str]]) -> dict[str, Any]:
        metadata = {"name": name, "labels": labels, "ownerReferences": owners}
        return {"kind": "Service", "metadata": metadata}

    live = [
        child("photos", label, owner),
        child("old", label, owner),
        child("no-label", {}, owner),
        child("other-owner", label, [{"uid": "x"}]),
    ]
    unwanted = find_unwanted(live, CHILDREN, GATEWAY.uid)
    assert [it["metadata"]["name"] for it in unwanted] == ["old"]


async def test_a_delete_fits_only_what_was_judged(
    api: FakeApi, remembered: list[dict[str, Any]]
) -> None:
    """With uid and version; gone already is fine."""
    live = api.put(PATH, {"kind": "Service", "metadata": {"name": "photos", "namespace": "demo"}})
    forgotten: list[Any] = []
    pruner = Pruner(
        api=api,
        remember=lambda _, it: remembered.append(it),
        forget=lambda _, it: forgotten.append(it),
        attempts=Attempts(clock=FakeClock()),
        metrics=Metrics(),
    )
    await pruner.delete(live)
    await pruner.delete(live)
    (first, _) = api.writes()
    assert first.body is not None
    assert first.body["preconditions"] == {
        "uid": live["metadata"]["uid"],
        "resourceVersion": live["metadata"]["resourceVersion"],
    }
    assert forgotten == [live, live]
    assert remembered == []


async def test_what_a_finalizer_keeps_is_not_forgotten(
    api: FakeApi, remembered: list[dict[str, Any]]
) -> None:
    """It is still there, and is not deleted again."""
    live = api.put(
        PATH,
        {
            "kind": "Service",
            "metadata": {
                "name": "photos",
                "namespace": "demo",
                "finalizers": ["example.com/f"],
                "labels": {"app.kubernetes.io/managed-by": "igw-operator"},
                "ownerReferences": [{"uid": GATEWAY.uid}],
            },
        },
    )
    forgotten: list[Any] = []
    pruner = Pruner(
        api=api,
        remember=lambda _, it: remembered.append(it),
        forget=lambda _, it: forgotten.append(it),
        attempts=Attempts(clock=FakeClock()),
        metrics=Metrics(),
    )
    assert find_unwanted([live], [], GATEWAY.uid) == [live]
    await pruner.delete(live)
    assert forgotten == []
    assert find_unwanted(remembered, [], GATEWAY.uid) == []


def test_a_status_patch_holds_what_changed_and_null_for_what_goes() -> None:
    """Merge patches keep what they do not name."""
    old = {"a": 1, "b": {"x": 1, "y": 2}, "gone": 1, "list": [1]}
    new = {"a": 1, "b": {"x": 1, "y": 3}, "list": [1, 2]}
    assert build_merge_patch(old, new) == {"b": {"y": 3}, "gone": None, "list": [1, 2]}
    assert build_merge_patch(new, new) == {}


async def test_an_unchanged_status_is_not_written(api: FakeApi) -> None:
    """No heartbeat."""
    writer = StatusWriter(api=api, remember=lambda *_: None, metrics=Metrics())
    manifest = {
        "metadata": {
            "name": "photos",
            "namespace": "demo",
            "uid": "u",
            "resourceVersion": "7",
            "labels": {"a": "b"},
        },
        "status": {"x": 1},
    }
    assert not await writer.write(kinds.GATEWAY, manifest, {"x": 1})
    assert api.requests == []
    assert await writer.write(kinds.GATEWAY, manifest, {"x": 2})
    (write,) = api.requests
    assert write.path.endswith("/inferencegateways/photos/status")
    assert write.body == {
        "metadata": {"uid": "u", "resourceVersion": "7"},
        "status": {"x": 2},
    }


async def test_a_gateway_that_is_gone_needs_no_status(api: FakeApi) -> None:
    """There is nobody to tell."""
    writer = StatusWriter(api=api, remember=lambda *_: None, metrics=Metrics())
    metadata = {"name": "photos", "namespace": "demo", "uid": "u", "resourceVersion": "7"}
    path = kinds.GATEWAY.path("demo", "photos", "status")
    api.failures["PATCH", path] = [ApiError("gone", status=404)]
    assert not await writer.write(kinds.GATEWAY, {"metadata": metadata}, {"x": 1})


DELEGATED = a_gateway(observability={"collector": {"mode": "OpenTelemetryCollector"}})
DELEGATED_CHILDREN = build_children(
    PlanInput(
        gateway=DELEGATED, runtime=a_runtime(), capabilities=Capabilities(otel_collectors=True)
    )
)
COLLECTOR_PATH = "/apis/opentelemetry.io/v1beta1/namespaces/demo/opentelemetrycollectors/photos"
(OTEL_COLLECTOR,) = (it for it in DELEGATED_CHILDREN if it["kind"] == kinds.OTEL_COLLECTOR.kind)
(COLLECTOR_SERVICE,) = (
    it for it in CHILDREN if (it["kind"], it["metadata"]["name"]) == ("Service", "photos-collector")
)


def names_of(manifests: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Kind and name of each."""
    return {(it["kind"], it["metadata"]["name"]) for it in manifests}


def test_what_the_other_collector_would_be_called_goes_first() -> None:
    """In both directions; what bears no such name has time."""
    there = find_in_the_way([*CHILDREN], DELEGATED_CHILDREN)
    assert names_of(there) >= {("Deployment", "photos-collector"), ("Service", "photos-collector")}
    assert "ConfigMap" not in {kind for kind, _ in names_of(there)}
    assert find_in_the_way([OTEL_COLLECTOR], CHILDREN) == [OTEL_COLLECTOR]
    elsewhere = [it for it in CHILDREN if not it["metadata"]["name"].endswith("-collector")]
    assert find_in_the_way([OTEL_COLLECTOR], elsewhere) == []


@pytest.mark.parametrize(
    ("collector", "error"),
    [
        (None, PredecessorError),
        (stamp(OTEL_COLLECTOR, DELEGATED), PredecessorError),
        ({"metadata": {"name": "photos", "namespace": "demo"}}, OwnedByOtherError),
    ],
    ids=["it is gone", "it is ours, and goes", "it is somebody else's"],
)
async def test_what_a_collector_of_ours_leaves_is_waited_for(
    applier: Applier, api: FakeApi, collector: dict[str, Any] | None, error: type[Exception]
) -> None:
    """The garbage collector follows; what belongs to somebody else's stays."""
    if collector is not None:
        api.objects[COLLECTOR_PATH] = {
            **collector,
            "metadata": {**collector["metadata"], "uid": "uid-otel"},
        }
    reference = {"kind": "OpenTelemetryCollector", "name": "photos", "uid": "uid-otel"}
    metadata = COLLECTOR_SERVICE["metadata"]
    owners = [{**reference, "apiVersion": "opentelemetry.io/v1beta1", "controller": True}]
    live = {**COLLECTOR_SERVICE, "metadata": {**metadata, "ownerReferences": owners}}
    with pytest.raises(error):
        await applier.apply(COLLECTOR_SERVICE, live, owner=GATEWAY, confirm=allow)
    assert api.writes() == []
