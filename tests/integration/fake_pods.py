"""A kubelet that runs nothing: pods become Ready at once, or not at all where their image is bad.

Deployments and ReplicaSets are those of the real controllers, so that rolling updates, revisions
and counts are real; only what happens within a pod is played.
"""

from __future__ import annotations

import threading
from typing import Any, Self

from igw_operator import conventions, kinds
from integration.cluster import Cluster, Manifest, RefusedError
from localnode.controlplane import ControlPlane

# Before any minReadySeconds: a pod counts as available at once.
_LONG_AGO = "2020-01-01T00:00:00Z"
_PAUSE_SECONDS = 0.2


class FakePods:
    """Plays every pod of every gateway, in a thread of its own."""

    def __init__(self, plane: ControlPlane) -> None:
        self._cluster = Cluster(plane)
        self._bad: set[str] = set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._cluster.close()

    def spoil(self, image: str) -> None:
        """From now on an image cannot be pulled."""
        self._bad = self._bad | {image}

    def cure(self, image: str) -> None:
        """It can again, and pods that waited for it start."""
        self._bad = self._bad - {image}

    def _run(self) -> None:
        while not self._ends.wait(_PAUSE_SECONDS):
            for pod in self._cluster.list_all("Pod", selector=conventions.LABEL_GATEWAY):
                wanted = _build_status(pod, self._bad)
                if _read_container(pod) != wanted["containerStatuses"][0]["state"]:
                    self._set(pod, wanted)

    def _set(self, pod: Manifest, status: Manifest) -> None:
        metadata = pod["metadata"]
        path = kinds.POD.path(metadata["namespace"], metadata["name"], "status")
        try:
            self._cluster.request("PATCH", path, {"status": status}, "application/merge-patch+json")
        except RefusedError as error:
            if error.status != 404:  # gone meanwhile
                raise


def _read_container(pod: Manifest) -> Any:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return statuses[0].get("state")


def _build_status(pod: Manifest, bad: set[str]) -> Manifest:
    container = pod["spec"]["containers"][0]
    is_ready = container["image"] not in bad
    waiting = {"reason": "ImagePullBackOff", "message": f"Back-off pulling {container['image']}"}
    state = {"running": {"startedAt": _LONG_AGO}} if is_ready else {"waiting": waiting}
    word = "True" if is_ready else "False"
    return {
        "phase": "Running" if is_ready else "Pending",
        "conditions": [
            {"type": kind, "status": word, "lastTransitionTime": _LONG_AGO}
            for kind in ("Ready", "ContainersReady")
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": is_ready,
                "restartCount": 0,
                "state": state,
            }
        ],
    }
