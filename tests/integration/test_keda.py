"""A real KEDA beside the operator: who scales changes hands, and replicas never dip.

The HPA controller is the real one too. It has no metrics here, so that nobody but the test
changes a number within the bounds; what an HPA would do at once is to keep the bounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integration.cluster import Cluster, Manifest, Write, wait_for
from integration.conftest import Place
from integration.keda_process import (
    SCALED_OBJECTS,
    KedaProcess,
    install_keda_crds,
    serves_keda,
)
from integration.operator_process import OperatorProcess, install
from integration.replicas import scale, watching_autoscalers, watching_replicas
from localnode.controlplane import ControlPlane
from node_parts import need_parts

pytestmark = pytest.mark.timeout(300)
HPA = "HorizontalPodAutoscaler"
KEDAS = "keda-hpa-photos"
BY_HPA: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 20, "engine": "HPA"}
BY_KEDA = BY_HPA | {"engine": "KEDA"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Rig:
    """One cluster with both operators."""

    cluster: Cluster
    keda: KedaProcess


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A cluster with KEDA, an operator that knows a Prometheus, and no other optional API."""
    need_parts("keda")
    folder = tmp_path_factory.mktemp("keda")
    with ControlPlane(folder / "plane") as plane:
        cluster = Cluster(plane)
        install(cluster, prometheus_crds=None)
        install_keda_crds(cluster)
        keda = KedaProcess(plane, folder)
        operator = OperatorProcess(plane, folder, IGW_PROMETHEUS_URL="http://127.0.0.1:1")
        keda.start()
        operator.start()
        try:
            yield Rig(cluster, keda)
            assert operator.stop() == 0
            assert operator.errors() == []
        finally:
            operator.kill()
            keda.stop()
            cluster.close()


@pytest.fixture
def place(rig: Rig) -> Place:
    """A fresh namespace."""
    return Place(rig.cluster, f"keda-{next(_numbers)}")


def test_keda_takes_a_scaled_object_as_we_write_it(place: Place) -> None:
    """It is content, makes its HPA with our bounds and targets, and there is no drift."""
    place.make(scaling=BY_KEDA | {"requestsPerSecond": 40})
    wait_for_keda(place)
    hpa = place.must_get(HPA, KEDAS)

    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 20)
    assert hpa["spec"]["scaleTargetRef"]["name"] == "photos"
    assert targets(hpa) == ["40", "50", "70", "80"]
    assert hpa["metadata"]["labels"]["inference.igw.dev/gateway"] == "photos"
    assert place.get(HPA) is None
    with place.recording() as writes:
        place.apply(scaling=BY_KEDA | {"requestsPerSecond": 40}, observability={"tracing": {}})
        place.settle()
    assert scaled(writes) == []


def test_keda_is_chosen_where_it_alone_knows_the_load(place: Place) -> None:
    """There is no custom metrics API here, and KEDA has a Prometheus to ask."""
    place.make()
    wait_for_keda(place)
    assert place.get(HPA) is None


@pytest.mark.pain(4)
def test_who_scales_changes_hands_and_replicas_never_dip(place: Place) -> None:
    """HPA, KEDA, fixed, HPA, KEDA, HPA: each takes the number that it finds (kserve#5196)."""
    place.make(scaling=BY_HPA)
    scale(place, 7)
    with (
        watching_replicas(place.cluster, place.namespace) as seen,
        watching_autoscalers(place.cluster, place.namespace) as together,
        place.recording() as writes,
    ):
        place.apply(scaling=BY_KEDA)
        wait_for_keda(place)
        scale(place, 9)
        place.apply(replicas=8)
        wait_for(lambda: replicas(place) == 8, "the fixed number", timeout_seconds=60)
        assert autoscalers(place) == []
        place.apply(scaling=BY_HPA)
        wait_for(lambda: autoscalers(place) == ["photos"], "the HPA", timeout_seconds=60)
        place.apply(scaling=BY_KEDA)
        wait_for_keda(place)
        scale(place, 11)
        place.apply(scaling=BY_HPA)
        wait_for(lambda: autoscalers(place) == ["photos"], "the HPA again", timeout_seconds=60)
        place.settle()
    assert seen == [7, 9, 8, 11]
    assert [names for names in together if len(names) > 1] == []
    assert {"photos"} in together
    assert {KEDAS} in together
    # The witness of the API server: each time the old one goes before the new one comes.
    assert scaled(writes) == [
        ("delete", "horizontalpodautoscalers"),
        ("patch", "scaledobjects"),
        ("delete", "scaledobjects"),
        ("patch", "horizontalpodautoscalers"),
        ("delete", "horizontalpodautoscalers"),
        ("patch", "scaledobjects"),
        ("delete", "scaledobjects"),
        ("patch", "horizontalpodautoscalers"),
    ]
    assert place.get("ScaledObject") is None


@pytest.mark.pain(4)
def test_a_pause_is_respected_and_said(place: Place) -> None:
    """KEDA takes its HPA away; the number stays, nobody makes another autoscaler."""
    place.make(scaling=BY_KEDA)
    wait_for_keda(place)
    scale(place, 5)
    annotation = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.cluster.patch("ScaledObject", place.namespace, "photos", annotation)
        wait_for(
            lambda: place.condition("ScalingReady")["reason"] == "ScalingPaused",
            "the pause to be said",
        )
        assert autoscalers(place) == []
        place.apply(scaling=BY_KEDA, serving={"maxBatch": 2})
        place.settle()
    assert seen == [5]
    annotations = place.must_get("ScaledObject")["metadata"]["annotations"]
    assert annotations["autoscaling.keda.sh/paused"] == "true"

    annotation["metadata"]["annotations"]["autoscaling.keda.sh/paused"] = None  # type: ignore[assignment]
    place.cluster.patch("ScaledObject", place.namespace, "photos", annotation)
    wait_for_keda(place)
    wait_for(
        lambda: place.condition("ScalingReady")["reason"] != "ScalingPaused", "the pause to end"
    )


@pytest.mark.pain(4)
def test_without_kedas_operator_the_change_waits_and_nothing_is_lost(
    rig: Rig, place: Place
) -> None:
    """Its finalizer stays, so does its HPA, and so does the number; then all goes on by itself."""
    place.make(scaling=BY_KEDA)
    wait_for_keda(place)
    scale(place, 6)
    rig.keda.stop()
    with watching_replicas(place.cluster, place.namespace) as seen:
        place.apply(replicas=4, serving={"maxBatch": 2})
        wait_for(
            lambda: "deletionTimestamp" in place.must_get("ScaledObject")["metadata"],
            "the ScaledObject to be deleted",
        )
        place.settle()
        assert "maxBatch" in str(place.must_get("ConfigMap", "photos-config")["data"])
        ready = place.condition("Ready")
        assert (ready["status"], ready["reason"]) == ("False", "Applying")
        assert "spec.replicas waits until ScaledObject photos is gone" in ready["message"]
        assert autoscalers(place) == [KEDAS]
        assert seen == [6]
        rig.keda.start()
        wait_for(lambda: replicas(place) == 4, "the fixed number", timeout_seconds=60)
    assert seen == [6, 4]
    assert place.get("ScaledObject") is None


def test_without_keda_an_hpa_takes_over(rig: Rig, place: Place) -> None:
    """Its CRD is deleted while in use, and comes back: somebody always scales, nobody dips."""
    place.make(scaling=BY_KEDA)
    wait_for_keda(place)
    scale(place, 9)
    with watching_replicas(place.cluster, place.namespace) as seen:
        rig.cluster.request("DELETE", SCALED_OBJECTS)
        wait_for(lambda: not serves_keda(rig.cluster), "the API to go", timeout_seconds=60)
        # KEDA's own HPA goes only when the garbage collector has learned that its owner's API is
        # gone: it asks every 30 s, and its first tries fail.
        wait_for(lambda: autoscalers(place) == ["photos"], "an HPA", timeout_seconds=150)
        wait_for(
            lambda: (
                "does not serve scaledobjects" in place.condition("ScalingReady")["message"]
                or place.condition("ScalingReady")["reason"] in {"Starting", "MetricsUnavailable"}
            ),
            "the condition to follow",
        )
        install_keda_crds(rig.cluster)
        wait_for_keda(place)
        place.settle()
    assert seen == [9]
    assert autoscalers(place) == [KEDAS]


def wait_for_keda(place: Place) -> None:
    """Until KEDA scales, and nobody else."""
    wait_for(lambda: autoscalers(place) == [KEDAS], "KEDA's HPA", timeout_seconds=60)
    wait_for(lambda: is_ready(place.get("ScaledObject")), "KEDA to be content", timeout_seconds=60)


def is_ready(scaled_object: Manifest | None) -> bool:
    """Whether KEDA says so."""
    conditions = ((scaled_object or {}).get("status") or {}).get("conditions") or ()
    return any((it["type"], it["status"]) == ("Ready", "True") for it in conditions)


def autoscalers(place: Place) -> list[str]:
    """Names of the HPAs in the namespace, whosever they are."""
    return sorted(it["metadata"]["name"] for it in place.cluster.list_all(HPA, place.namespace))


def replicas(place: Place) -> int:
    """What the Deployment is told to have."""
    return int(place.must_get("Deployment")["spec"]["replicas"])


def targets(hpa: Manifest) -> list[str]:
    """Every target value of an HPA, sorted."""
    values = []
    for metric in hpa["spec"]["metrics"]:
        target = metric[metric["type"].lower()]["target"]
        values.append(str(target.get("averageUtilization") or target["averageValue"]))
    return sorted(values)


def scaled(writes: list[Write]) -> list[tuple[str, str]]:
    """The operator's writes to autoscalers, without repetitions that were refused."""
    kinds = {"horizontalpodautoscalers", "scaledobjects"}
    return [(it.verb, it.resource) for it in writes if it.resource in kinds and it.code < 400]
