"""A kubelet that runs nothing: pods become Ready at once, or fail as a test wants it.

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
_RUNNING: Manifest = {"running": {"startedAt": _LONG_AGO}}
_SERVING: Manifest = {"ready": True, "state": _RUNNING}


class FakePods:
    """Plays every pod of every gateway, perhaps of one namespace, in a thread of its own."""

    def __init__(self, plane: ControlPlane, namespace: str = "") -> None:
        self._cluster = Cluster(plane)
        self._namespace = namespace
        self._plays: dict[str, Manifest] = {}
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
        waiting = {"reason": "ImagePullBackOff", "message": f"Back-off pulling {image}"}
        self._play(image, state={"waiting": waiting})

    def crash(self, image: str, log: str) -> None:
        """From now on containers of an image exit with code 1, again and again.

        ``log`` is the end of their log, which the kubelet keeps as their last words.
        """
        end = {"exitCode": 1, "reason": "Error", "message": log}
        self._play(
            image,
            state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
            lastState={"terminated": end},
        )

    def stall(self, image: str) -> None:
        """From now on containers of an image run, and never get ready."""
        self._play(image, state=_RUNNING)

    def cure(self, image: str) -> None:
        """It works again, and pods that waited for it start."""
        self._plays = {key: play for key, play in self._plays.items() if key != image}

    def _play(self, image: str, **play: Manifest) -> None:
        self._plays = self._plays | {image: {"ready": False, **play}}

    def _run(self) -> None:
        while not self._ends.wait(_PAUSE_SECONDS):
            selector = conventions.LABEL_GATEWAY
            for pod in self._cluster.list_all("Pod", self._namespace, selector):
                play = self._plays.get(pod["spec"]["containers"][0]["image"], _SERVING)
                if _read_container(pod) != play["state"] or _is_ready(pod) != play["ready"]:
                    self._set(pod, _build_status(pod, play))

    def _set(self, pod: Manifest, status: Manifest) -> None:
        metadata = pod["metadata"]
        path = kinds.POD.path(metadata["namespace"], metadata["name"], "status")
        try:
            self._cluster.request("PATCH", path, {"status": status}, "application/merge-patch+json")
        except RefusedError as error:
            if error.status != 404:  # gone meanwhile
                raise


def _read_container(pod: Manifest) -> Any:
    return _read_status(pod).get("state")


def _is_ready(pod: Manifest) -> bool:
    return bool(_read_status(pod).get("ready"))


def _read_status(pod: Manifest) -> Manifest:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def _build_status(pod: Manifest, play: Manifest) -> Manifest:
    container = pod["spec"]["containers"][0]
    word = "True" if play["ready"] else "False"
    return {
        "phase": "Running" if "running" in play["state"] else "Pending",
        "conditions": [
            {"type": kind, "status": word, "lastTransitionTime": _LONG_AGO}
            for kind in ("Ready", "ContainersReady")
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "restartCount": 0,
                **play,
            }
        ],
    }
