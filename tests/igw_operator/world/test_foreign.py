"""Fields of others on our children: left, and counted by who set them."""

from __future__ import annotations

from typing import Any

from igw_operator import conventions, kinds
from igw_operator.world.cache import Cache
from igw_operator.world.foreign import OTHERS, read_foreign_fields

OURS = {
    "manager": conventions.FIELD_MANAGER,
    "operation": "Apply",
    "fieldsV1": {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:port": {}, "f:name": {}}}},
    },
}


def an_entry(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    """What a field manager has updated."""
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def a_service(version: int, *entries: dict[str, Any]) -> dict[str, Any]:
    """A Service that we apply and on which others set fields."""
    metadata = {
        "name": "photos",
        "namespace": "demo",
        "resourceVersion": str(version),
        "managedFields": [OURS, *entries],
    }
    return {"kind": "Service", "metadata": metadata}


def labels(*names: str) -> dict[str, Any]:
    """A share of labels."""
    return {"f:metadata": {"f:labels": {f"f:{name}": {} for name in names}}}


def test_fields_that_only_others_set_are_counted() -> None:
    """Not those that we set as well, and no status: its writers do what they are there for."""
    port: dict[str, Any] = {
        "f:spec": {"f:ports": {'k:{"port":81}': {".": {}, "f:port": {}, "f:name": {}}}}
    }
    found = read_foreign_fields(
        a_service(
            1,
            an_entry("kubectl-label", labels("app", "team", "stage")),
            an_entry("kubectl-edit", port),
            an_entry("kubectl-edit", labels("owner")),
            an_entry("controller", {"f:status": {"f:x": {}}}, subresource="status"),
            an_entry("polite", labels("app")),
        )
    )
    assert found == {"kubectl-label": 2, "kubectl-edit": 3}


def test_what_we_do_not_apply_is_no_business_of_ours() -> None:
    """An HPA that KEDA made carries our labels, and is KEDA's."""
    service = a_service(1, an_entry("keda", labels("a")))
    service["metadata"]["managedFields"].remove(OURS)
    assert read_foreign_fields(service) == {}


def test_the_cache_keeps_the_sums() -> None:
    """They follow each change of an object, and its end."""
    told: dict[tuple[str, str], int] = {}

    def tell(kind: str, manager: str, count: int) -> None:
        told[kind, manager] = count

    cache = Cache(tell)
    cache.put(kinds.SERVICE, a_service(1, an_entry("me", labels("a", "b"))))
    other = a_service(2, an_entry("me", labels("c")))
    other["metadata"]["name"] = "flowers"
    cache.put(kinds.SERVICE, other)
    assert told == {("Service", "me"): 3}
    cache.put(kinds.SERVICE, a_service(3, an_entry("you", labels("a"))))
    assert told == {("Service", "me"): 1, ("Service", "you"): 1}
    cache.remove(kinds.SERVICE, a_service(4))
    assert told == {("Service", "me"): 1, ("Service", "you"): 0}
    cache.drop_kind(kinds.SERVICE)
    assert set(told.values()) == {0}


def test_names_of_managers_are_bounded() -> None:
    """A client may call itself anything, each time anew: that must not become a thousand series."""
    told: dict[str, int] = {}
    cache = Cache(lambda _, manager, count: told.update({manager: count}))
    entries = [an_entry(f"client-{number}", labels("a")) for number in range(50)]
    cache.put(kinds.SERVICE, a_service(1, *entries))
    assert len(told) == 21
    assert told[OTHERS] == 30
    cache.put(kinds.SERVICE, a_service(2))
    assert set(told.values()) == {0}
