from typing import Any

from igw_operator import conventions
from igw_operator.act.ownership import take_over


def entry(manager: str, operation: str, tree: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One entry of managedFields."""
    return {"manager": manager, "operation": operation, "fieldsV1": tree, **more}


def test_others_shares_of_the_field_become_ours() -> None:
    """And only those: what else they own stays theirs."""
    ours = entry(conventions.FIELD_MANAGER, "Apply", {"f:spec": {"f:type": {}}})
    port: dict[str, Any] = {"f:ports": {'k:{"port":81}': {"f:port": {}}}}
    theirs = entry("kubectl-edit", "Update", {"f:spec": port, "f:metadata": {"f:labels": {}}})
    live = {"metadata": {"managedFields": [ours, theirs]}}
    taken = take_over(live, ["spec.ports[80,TCP]"])
    assert taken == [
        entry(conventions.FIELD_MANAGER, "Apply", {"f:spec": {"f:type": {}} | port}),
        entry("kubectl-edit", "Update", {"f:metadata": {"f:labels": {}}}),
    ]


def test_a_manager_with_nothing_left_goes() -> None:
    """An entry without fields would be invalid."""
    ours = entry(conventions.FIELD_MANAGER, "Apply", {"f:spec": {}})
    theirs = entry("edit", "Update", {"f:spec": {"f:ports": {}}})
    live = {"metadata": {"managedFields": [ours, theirs]}}
    assert [it["manager"] for it in take_over(live, ["spec.ports[1].name"]) or []] == [
        conventions.FIELD_MANAGER
    ]


def test_status_and_scale_writers_keep_their_shares() -> None:
    """Subresources have owners of their own."""
    scaler = entry("kcm", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    live = {"metadata": {"managedFields": [scaler]}}
    assert take_over(live, ["spec.replicas"]) is None
