"""Others act: while the operator is down, on its objects, beside it, or in its place."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from integration.cluster import LEASE, RefusedError, wait_for
from integration.conftest import Place
from integration.operator_process import install_prometheus_crds
from matrix import oracles
from matrix.calls import writes
from matrix.faults import slow
from matrix.process import SupervisedOperator
from matrix.rig import WAIT_SECONDS, Rig, a_rig, crds_folder

SCALED: Final[dict[str, Any]] = {"scaling": {"minReplicas": 1, "maxReplicas": 10}}


@pytest.mark.core
@pytest.mark.case(9, "O1 O3 O4 O5")
def test_edits_while_the_operator_is_down(still: Rig) -> None:
    """A child edited, one deleted, the gateway edited there and back: two writes in all."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    still.operator.kill()
    place.apply(serving={"maxBatch": 2})
    place.apply()
    place.cluster.delete("Service", place.namespace, "photos")
    patch = {"spec": {"maxReplicas": 4}}
    place.cluster.patch("HorizontalPodAutoscaler", place.namespace, "photos", patch)
    with place.recording() as written:
        still.operator.start()
        oracles.check_end_state(place, reference.state)
        still.settled(place)
    oracles.check_truth(place)
    children = [it.resource for it in written if it.resource not in _REPORTS]
    assert sorted(children) == ["horizontalpodautoscalers", "services"]
    oracles.check_process(still.operator, mark)


@pytest.mark.case(9, "O1 O5")
@pytest.mark.pain(8)
def test_a_gateway_deleted_while_the_operator_is_down(lively: Rig) -> None:
    """Its children go with it, and the operator does not bring one back."""
    place, mark = lively.place(), lively.operator.mark()
    lively.make(place)
    lively.operator.kill()
    place.cluster.delete("InferenceGateway", place.namespace, "photos")
    with place.recording() as written:
        lively.operator.start()
        wait_for(lambda: not place.children(), "the children to go", WAIT_SECONDS)
        oracles.stay(6)
    assert place.children() == {}
    assert written == []
    oracles.check_process(lively.operator, mark)


@pytest.mark.case(23, "O5 O7")
@pytest.mark.pain(3)
def test_autoscaling_off_and_on_with_live_replicas(still: Rig) -> None:
    """Seven replicas that an autoscaler chose: through all changes of hands never fewer."""
    place, mark = still.place(), still.operator.mark()
    still.make(place, **SCALED)
    _scale(place, 7)
    with _least_replicas(place) as seen:
        fixed: dict[str, Any] = {"replicas": 7}
        for spec in (fixed, SCALED, fixed, SCALED):
            place.apply(**spec)
            still.settled(place)
            expected = None if "replicas" in spec else "photos"
            autoscaler = place.get("HorizontalPodAutoscaler")
            assert (autoscaler or {}).get("metadata", {}).get("name") == expected
    assert min(seen) == max(seen) == 7
    oracles.check_process(still.operator, mark)


@pytest.mark.core
@pytest.mark.case(23, "O2 O5 O7")
@pytest.mark.pain(3)
def test_an_autoscaler_and_the_operator_do_not_fight(still: Rig) -> None:
    """Whatever number the autoscaler sets stays, and costs no write."""
    place, mark = still.place(), still.operator.mark()
    still.make(place, **SCALED)
    with place.recording() as written:
        for replicas in (7, 3, 9):
            _scale(place, replicas)
            oracles.stay(3)
            assert place.must_get("Deployment")["spec"]["replicas"] == replicas
    assert [it for it in written if it.resource == "deployments"] == []
    oracles.check_process(still.operator, mark)


@pytest.mark.case(23, "O2 O5 O7")
def test_a_real_autoscaler(lively: Rig) -> None:
    """The controller of kube-controller-manager scales: each number it chose stays as it is."""
    place, mark = lively.place(), lively.operator.mark()
    lively.make(place, scaling={"minReplicas": 1, "maxReplicas": 10})
    _scale(place, 7)
    # Without metrics it keeps to its bounds, and that it does for real.
    with _least_replicas(place) as seen, place.recording() as written:
        place.apply(scaling={"minReplicas": 8, "maxReplicas": 10})
        wait_for(lambda: _replicas(place) == 8, "it to scale to its minimum", WAIT_SECONDS)
        lively.settled(place)
        place.apply(replicas=9)
        wait_for(lambda: _replicas(place) == 9, "the fixed number", WAIT_SECONDS)
        lively.settled(place)
        assert place.get("HorizontalPodAutoscaler") is None
        place.apply(scaling={"minReplicas": 2, "maxReplicas": 12})
        lively.settled(place)
        assert _replicas(place) == 9
        oracles.stay(12)
        assert _replicas(place) == 9
    assert min(seen) == 7, "O7: fewer than the autoscaler chose"
    assert seen == sorted(seen), "O7: down and up again"
    place.apply(scaling={"minReplicas": 2, "maxReplicas": 5})
    wait_for(lambda: _replicas(place) == 5, "it to scale to its maximum", WAIT_SECONDS)
    oracles.check_quiet(place, 12)
    assert _replicas(place) == 5
    events = [it for it in written if it.resource == "deployments" and it.code < 300]
    assert len(events) <= 4, "O2: fights over the Deployment"
    oracles.check_process(lively.operator, mark)


@pytest.mark.case(24, "O1 O4 O5 O7")
@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        pytest.param("ConfigMap", "photos-config", {"data": {"mine": "1"}}, id="a ConfigMap"),
        pytest.param("Service", "photos", {"spec": {"ports": [{"port": 1234}]}}, id="a Service"),
        pytest.param("ServiceAccount", "photos", {}, id="a ServiceAccount"),
    ],
)
def test_an_object_of_somebody_else(
    still: Rig, kind: str, name: str, content: dict[str, Any]
) -> None:
    """It is not touched, the status names it; when it goes, ours comes."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    metadata = {"name": name, "namespace": place.namespace}
    place.cluster.create({"apiVersion": "v1", "kind": kind, "metadata": metadata} | content)
    foreign = {f"{kind} {name}": oracles.version(place, kind, name)}
    with place.recording() as written:
        place.apply()
        wait_for(
            lambda: place.condition("Stalled").get("reason") == "ForeignObject",
            "Stalled to say so",
            WAIT_SECONDS,
        )
        assert f"{kind} {name}" in place.condition("Stalled")["message"]
        still.settled(place)
        oracles.check_truth(place)
        oracles.stay(6)
    oracles.check_safety(written, foreign=foreign, now=place)
    place.cluster.delete(kind, place.namespace, name)
    oracles.check_end_state(place, reference.state, WAIT_SECONDS)
    oracles.check_process(still.operator, mark)


@pytest.mark.case(25, "O5 O6")
def test_a_namespace_that_ends_in_mid_reconcile(lively: Rig) -> None:
    """What cannot be made any more is let be: the namespace goes, and no request follows it."""
    place, mark = lively.place(), lively.operator.mark()
    with lively.proxy.fault(writes(place.namespace), slow(0.5)) as rule:
        place.apply()
        wait_for(lambda: rule.hits >= 3, "the first writes", WAIT_SECONDS)
        place.cluster.request("DELETE", f"/api/v1/namespaces/{place.namespace}")
        wait_for(lambda: _is_gone(place), "the namespace to go", 120)
    oracles.stay(3)
    start = oracles.now()
    oracles.stay(15)
    late = [it for it in lively.proxy.since(start) if it.namespace == place.namespace]
    assert late == [], "O6: goes on asking about a namespace that is gone"
    oracles.check_process(lively.operator, mark)


@pytest.mark.case(26, "O1 O4 O5 O6")
def test_optional_apis_come_and_go(tmp_path: Path) -> None:
    """Absent: all else is made. Added: the rest follows. Removed: no crash, no storm."""
    with a_rig(tmp_path, controllers=False, monitoring=False) as rig:
        place, mark = rig.place(), rig.operator.mark()
        rig.make(place)
        bare = oracles.end_state(place)
        assert _monitoring(place) == "PrometheusOperatorMissing"
        install_prometheus_crds(rig.cluster, crds_folder())
        wait_for(lambda: _has_monitoring(place), "monitoring to be made", WAIT_SECONDS)
        rig.settled(place)
        oracles.check_truth(place)
        for name in ("servicemonitors", "prometheusrules"):
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            rig.cluster.request("DELETE", f"{path}/{name}.monitoring.coreos.com")
        oracles.check_end_state(place, bare, WAIT_SECONDS)
        start = oracles.now()
        oracles.stay(15)
        oracles.check_rate(rig.proxy.since(start), 15, 12)
        oracles.check_process(rig.operator, mark)


@pytest.mark.case(27, "O1 O2 O4 O5")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"model": {"name": "nonesuch"}}, id="an unknown model"),
        pytest.param({"runtimeRef": {"name": "nowhere"}}, id="an unknown runtime"),
        pytest.param({"replicas": 0}, id="no replicas"),
        pytest.param({"replicas": 3}, id="a fixed number"),
        pytest.param({"networkPolicy": {"enabled": False}}, id="no network policy"),
        pytest.param({"observability": {"metrics": {"enabled": False}}}, id="no metrics"),
        pytest.param({"observability": {"collector": {"mode": "Disabled"}}}, id="no collector"),
        pytest.param({"service": {"type": "NodePort"}}, id="another type of Service"),
        pytest.param({"slo": {"latency": {"threshold": "1s"}}}, id="another objective"),
        pytest.param(
            {"scheduling": {"nodeSelector": {"a": "b"}, "spot": "Require"}}, id="scheduling"
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "3"}, "limits": {"memory": "9Gi"}}}, id="resources"
        ),
    ],
)
def test_there_and_back_again(still: Rig, other: dict[str, Any]) -> None:
    """After S1→S2→S1 nothing tells that there was an S2."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    still.make(place, **other)
    oracles.check_truth(place)
    still.make(place)
    oracles.check_end_state(place, reference.state)
    oracles.check_quiet(place)
    oracles.check_truth(place)
    oracles.check_process(still.operator, mark)


@pytest.mark.core
@pytest.mark.case(27, "O1 O4 O5")
def test_invalid_at_first(still: Rig) -> None:
    """Begun as nonsense and put right, it is as any other."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    place.apply(model={"name": "nonesuch"})
    wait_for(lambda: place.condition("Stalled").get("status") == "True", "Stalled", WAIT_SECONDS)
    assert place.children() == {}
    oracles.check_truth(place)
    place.apply()
    oracles.check_end_state(place, reference.state)
    oracles.check_process(still.operator, mark)


@pytest.mark.core
@pytest.mark.case(28, "O1 O3 O5 O7")
def test_a_frozen_operator_has_lost_its_lease(still: Rig) -> None:
    """Another takes over; thawed, the first ends at once and waits for its turn."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    still.make(place)
    second = SupervisedOperator(still.plane, still.proxy, still.folder, identity="second")
    second.start(wait=False)
    still.operator.freeze()
    try:
        wait_for(lambda: _holder(place) == "second", "the second to hold it", WAIT_SECONDS)
        with place.recording() as written:
            place.cluster.delete("Service", place.namespace, "photos")
            oracles.check_end_state(place, reference.state, WAIT_SECONDS)
            still.operator.thaw()
            wait_for(
                lambda: len(still.operator.exits) > mark.exits, "the first to end", WAIT_SECONDS
            )
            still.settled(place)
            oracles.check_end_state(place, reference.state)
        assert _holder(place) == "second"
        assert [it.resource for it in written if it.resource not in _REPORTS] == ["services"]
        oracles.check_safety(written)
        assert second.stop() == 0
    finally:
        still.operator.thaw()
        second.close()
    wait_for(lambda: _holder(place) == "matrix", "the first to be back", WAIT_SECONDS)
    oracles.check_process(still.operator, mark, may_exit=True)


@pytest.mark.case(28, "O1 O3 O5 O7")
def test_frozen_in_the_middle_of_a_pass(still: Rig) -> None:
    """Thawed with half of its work before it, it does none of it: the spec is another by now."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    second = SupervisedOperator(still.plane, still.proxy, still.folder, identity="second")
    second.start(wait=False)
    try:
        with still.proxy.fault(writes(place.namespace), slow(0.7)) as rule:
            place.apply(networkPolicy={"enabled": False}, replicas=2, serving={"maxBatch": 2})
            wait_for(lambda: rule.hits >= 4, "the first writes", WAIT_SECONDS)
            still.operator.freeze()
        wait_for(lambda: _holder(place) == "second", "the second to hold it", WAIT_SECONDS)
        place.apply()
        oracles.check_end_state(place, reference.state, WAIT_SECONDS)
        still.settled(place)
        versions = {key: it["metadata"]["resourceVersion"] for key, it in place.children().items()}
        with place.recording() as written:
            still.operator.thaw()
            wait_for(
                lambda: len(still.operator.exits) > mark.exits, "the first to end", WAIT_SECONDS
            )
            still.settled(place)
        now = {key: it["metadata"]["resourceVersion"] for key, it in place.children().items()}
        assert now == versions, "O7: the past was written over the present"
        oracles.check_safety(written)
        assert second.stop() == 0
    finally:
        still.operator.thaw()
        second.close()
    wait_for(lambda: _holder(place) == "matrix", "the first to be back", WAIT_SECONDS)
    oracles.check_process(still.operator, mark, may_exit=True)


@pytest.mark.case(28, "O1 O2 O3 O5 O7")
def test_two_at_work(still: Rig) -> None:
    """Where nothing keeps two from being active they agree, and soon are quiet."""
    reference = still.reference
    place, mark = still.place(), still.operator.mark()
    second = SupervisedOperator(
        still.plane, still.proxy, still.folder, identity="twin", settings={"IGW_LEASE": "false"}
    )
    try:
        second.start()
        with place.recording() as written:
            still.make(place)
            oracles.check_end_state(place, reference.state)
            place.apply(networkPolicy={"enabled": False})
            still.settled(place)
            place.apply()
            still.settled(place)
            place.cluster.delete("Service", place.namespace, "photos")
            oracles.check_end_state(place, reference.state, WAIT_SECONDS)
            oracles.check_quiet(place, 6)
        children = Counter(it.name for it in written if it.resource == "deployments")
        assert max(children.values()) <= 4, "O3: they fight"
        oracles.check_truth(place)
        assert second.stop() == 0
    finally:
        second.close()
    oracles.check_process(still.operator, mark)


_REPORTS = frozenset({"events", "inferencegateways"})


def _scale(place: Place, replicas: int) -> None:
    """As the horizontal pod autoscaler does."""
    body = {"spec": {"replicas": replicas}}
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/photos/scale"
    place.cluster.request(
        "PATCH", path, body, "application/merge-patch+json", fieldManager="autoscaler"
    )


def _replicas(place: Place) -> int:
    return int(place.must_get("Deployment")["spec"]["replicas"])


@contextmanager
def _least_replicas(place: Place) -> Iterator[list[int]]:
    """Every number of replicas that was seen within the block, looking all the time."""
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            seen.append(place.must_get("Deployment")["spec"]["replicas"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _is_gone(place: Place) -> bool:
    try:
        place.cluster.request("GET", f"/api/v1/namespaces/{place.namespace}")
    except RefusedError as error:
        return error.status == 404
    return False


def _monitoring(place: Place) -> str:
    return str(place.condition("MonitoringReady").get("reason"))


def _has_monitoring(place: Place) -> bool:
    return {"ServiceMonitor", "PrometheusRule"} <= {kind for kind, _ in place.children()}


def _holder(place: Place) -> str:
    lease = place.cluster.request("GET", LEASE.path("igw-system", "igw-operator"))
    return str(lease["spec"]["holderIdentity"])
