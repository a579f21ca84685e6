"""Who should be scraped by now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from igw_operator import conventions, kinds
from igw_operator.api.objects import ObjectKey
from igw_operator.world.cache import Cache

PHOTOS = ObjectKey("demo", "photos")
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def a_pod(version: int, *, ready: str = "True", app: str = "igw-runtime", **meta: Any) -> Any:
    """A pod that is ready, or not, since eleven."""
    labels = {conventions.LABEL_GATEWAY: "photos", conventions.LABEL_NAME: app}
    metadata = {"name": "photos-1", "namespace": "demo", "resourceVersion": str(version)}
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-03-04T11:00:00Z"}
    return {
        "kind": "Pod",
        "metadata": {**metadata, "labels": labels, **meta},
        "status": {"conditions": [{"type": "Initialized", "status": "True"}, condition]},
    }


def test_a_ready_pod_counts_from_its_time_on() -> None:
    """Not before it has been ready for a while."""
    cache = Cache()
    cache.put(kinds.POD, a_pod(1))

    assert cache.roster.settled(PHOTOS, NOON) == ["photos-1"]
    assert cache.roster.settled(PHOTOS, datetime(2026, 3, 4, 10, 59, tzinfo=UTC)) == []
    assert cache.roster.settled(ObjectKey("demo", "scans"), NOON) == []


@pytest.mark.parametrize(
    "pod",
    [
        a_pod(2, ready="False"),
        a_pod(2, deletionTimestamp="2026-03-04T11:30:00Z"),
        a_pod(2, app="igw-collector"),
        {**a_pod(2), "status": {}},
    ],
    ids=["unready", "on its way out", "a collector's", "nobody has judged it"],
)
def test_others_do_not_count(pod: Any) -> None:
    """Also where they did before."""
    cache = Cache()
    cache.put(kinds.POD, a_pod(1))
    cache.put(kinds.POD, pod)

    assert cache.roster.settled(PHOTOS, NOON) == []


def test_a_pod_that_is_gone_is_forgotten() -> None:
    """Whoever deleted it."""
    cache = Cache()
    cache.put(kinds.POD, a_pod(1))
    cache.remove(kinds.POD, a_pod(2))

    assert cache.roster.settled(PHOTOS, NOON) == []
