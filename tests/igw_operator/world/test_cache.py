from typing import Any

from igw_operator import conventions, kinds
from igw_operator.api.objects import ObjectKey
from igw_operator.kinds import Resource
from igw_operator.world.cache import Cache, Discrepancies


def an_object(
    resource: Resource, name: str, version: int, gateway: str = "", **fields: Any
) -> dict[str, Any]:
    """An object of some version, perhaps labelled with its gateway."""
    labels = {conventions.LABEL_GATEWAY: gateway} if gateway else {}
    metadata = {
        "name": name,
        "namespace": "demo" if resource.namespaced else "",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "labels": labels,
    }
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**head, "metadata": metadata, **fields}


def a_routed_gateway(name: str, version: int, *parents: str) -> dict[str, Any]:
    """An InferenceGateway whose route names Gateways of its own namespace."""
    route = {"parentRefs": [{"name": parent} for parent in parents]}
    return an_object(kinds.GATEWAY, name, version, spec={"service": {"route": route}})


def test_a_gateway_of_gateway_api_concerns_who_is_routed_through_it() -> None:
    """Those that name it now, whether it is watched or found by a LIST."""
    cache = Cache()
    cache.put(kinds.GATEWAY, a_routed_gateway("a", 1, "public"))
    cache.put(kinds.GATEWAY, a_routed_gateway("b", 2, "public"))
    cache.put(kinds.GATEWAY, a_routed_gateway("b", 3, "internal"))
    public = an_object(kinds.PARENT_GATEWAY, "public", 4)
    assert cache.gateways_of(kinds.PARENT_GATEWAY, public) == [ObjectKey("demo", "a")]

    found = _list(cache, kinds.PARENT_GATEWAY, [public], 4)
    assert cache.gateways_named(found.affected) == [ObjectKey("demo", "a")]
    gone = _list(cache, kinds.PARENT_GATEWAY, [], 5)
    assert cache.gateways_named(gone.affected) == [ObjectKey("demo", "a")]

    cache.remove(kinds.GATEWAY, a_routed_gateway("a", 6))
    assert cache.gateways_of(kinds.PARENT_GATEWAY, public) == []


def test_an_older_copy_never_replaces_a_newer_one() -> None:
    """Whatever order answers and events come in."""
    cache = Cache()
    key = ObjectKey("demo", "a")
    assert cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 10, spec=10))
    assert not cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 9, spec=9))
    assert not cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 10, spec=10)), "an echo"
    assert cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 100, spec=100))
    found = cache.get(kinds.SERVICE, key)
    assert found is not None
    assert found["spec"] == 100


def test_a_late_answer_does_not_raise_the_dead() -> None:
    """A deletion that was seen first counts; a new object of that name is another one."""
    cache = Cache()
    cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 10))
    assert cache.remove(kinds.SERVICE, an_object(kinds.SERVICE, "a", 12))
    assert not cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 11))
    assert cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 13))


def test_an_old_deletion_does_not_remove_a_newer_object() -> None:
    """It was deleted and made again meanwhile."""
    cache = Cache()
    cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 20))
    assert not cache.remove(kinds.SERVICE, an_object(kinds.SERVICE, "a", 12))


def test_readers_cannot_change_what_is_kept() -> None:
    """Each gets a copy of its own, without managedFields."""
    cache = Cache()
    manifest = an_object(kinds.SERVICE, "a", 10, spec={"x": 1})
    manifest["metadata"]["managedFields"] = [{"manager": "me"}]
    cache.put(kinds.SERVICE, manifest)
    first = cache.get(kinds.SERVICE, ObjectKey("demo", "a"))
    assert first is not None
    assert "managedFields" not in first["metadata"]
    first["spec"]["x"] = 2
    again = cache.get(kinds.SERVICE, ObjectKey("demo", "a"))
    assert again is not None
    assert again["spec"]["x"] == 1


def test_a_list_replaces_a_kind_and_tells_what_no_watch_had_told() -> None:
    """New, changed and vanished objects; what is newer than the list stays."""
    cache = Cache()
    for name, version in (("same", 5), ("changed", 6), ("gone", 7), ("newer", 50)):
        cache.put(kinds.SERVICE, an_object(kinds.SERVICE, name, version, gateway=name))
    listed = [
        an_object(kinds.SERVICE, "same", 5, gateway="same"),
        an_object(kinds.SERVICE, "changed", 8, gateway="changed"),
        an_object(kinds.SERVICE, "new", 9, gateway="new"),
    ]
    found = _list(cache, kinds.SERVICE, listed, 40)
    assert (found.appeared, found.changed, found.vanished) == (1, 1, 1)
    assert {key.name for key in found.affected} == {"changed", "new", "gone"}
    assert {key.name for key in cache.keys(kinds.SERVICE)} == {"same", "changed", "new", "newer"}


def test_children_and_pods_are_found_by_their_gateway() -> None:
    """By label or by owner, whichever is left; others' objects are not among them."""
    cache = Cache()
    cache.put(kinds.GATEWAY, an_object(kinds.GATEWAY, "photos", 1))
    cache.put(kinds.POD, an_object(kinds.POD, "photos-1", 2, gateway="photos"))
    owned = an_object(kinds.SERVICE, "photos", 3)
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": conventions.API_VERSION, "kind": conventions.GATEWAY_KIND, "name": "photos"}
    ]
    cache.put(kinds.SERVICE, owned)
    cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "other", 4, gateway="other"))
    key = ObjectKey("demo", "photos")
    assert [it["metadata"]["name"] for it in cache.of_gateway(key)] == ["photos-1", "photos"]
    assert cache.gateways_of(kinds.SERVICE, owned) == [key]


def test_a_long_name_is_found_by_its_label() -> None:
    """The label holds the shortened name with its hash."""
    cache = Cache()
    name = "a" * 63
    cache.put(kinds.GATEWAY, an_object(kinds.GATEWAY, name, 1))
    pod = an_object(kinds.POD, "p", 2, gateway=conventions.child_name(name))
    cache.put(kinds.POD, pod)
    key = ObjectKey("demo", name)
    assert len(cache.of_gateway(key)) == 1
    assert cache.gateways_of(kinds.POD, pod) == [key]


def test_gateways_are_counted_by_runtime() -> None:
    """By name, and with the default also those that name none."""
    cache = Cache()
    named = an_object(kinds.GATEWAY, "a", 1, spec={"runtimeRef": {"name": "gpu"}})
    cache.put(kinds.GATEWAY, named)
    cache.put(kinds.GATEWAY, an_object(kinds.GATEWAY, "b", 2, spec={}))
    assert cache.fleet.keys_on("gpu", is_default=False) == [ObjectKey("demo", "a")]
    assert len(cache.fleet.keys_on("gpu", is_default=True)) == 2
    cache.remove(kinds.GATEWAY, named)
    assert cache.fleet.keys_on("gpu", is_default=False) == []


def test_a_kind_whose_api_is_gone_is_forgotten() -> None:
    """With its links to gateways."""
    cache = Cache()
    rule = an_object(kinds.PROMETHEUS_RULE, "photos", 1, gateway="photos")
    cache.put(kinds.PROMETHEUS_RULE, rule)
    cache.drop_kind(kinds.PROMETHEUS_RULE)
    assert cache.count() == 0
    assert cache.of_gateway(ObjectKey("demo", "photos")) == []


def test_a_known_copy_is_taken_while_it_is_the_latest() -> None:
    """A second look within one pass unpacks only what has changed since the first."""
    cache = Cache()
    gateway = ObjectKey("demo", "photos")
    cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "a", 10, gateway="photos", spec=10))
    cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "b", 11, gateway="photos", spec=11))
    before = cache.of_gateway(gateway)
    cache.put(kinds.SERVICE, an_object(kinds.SERVICE, "b", 12, gateway="photos", spec=12))
    now = cache.of_gateway(gateway, before)
    assert now[0] is before[0]
    assert [it["spec"] for it in now] == [10, 12]


def test_objects_unlike_the_first_of_their_kind_come_back_whole() -> None:
    """The first one seen is what the others are packed against; it need not resemble them."""
    cache = Cache()
    kept = [
        an_object(kinds.SERVICE, f"a{i}", i, spec={"x": [i, None, 1.5, "ü" * i]}) for i in (1, 9)
    ]
    for manifest in kept:
        cache.put(kinds.SERVICE, manifest)
    assert cache.all(kinds.SERVICE) == kept


def _list(
    cache: Cache, resource: Resource, items: list[dict[str, Any]], version: int
) -> Discrepancies:
    """Have a LIST replace a kind, in pages of two."""
    replacement = cache.replacement(resource)
    for start in range(0, len(items), 2):
        replacement.add(items[start : start + 2])
    return replacement.finish(version)
