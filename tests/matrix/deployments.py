"""Stands in for the Deployment controller, a kubelet, and autoscalers that see no load.

Whatever is asked for runs at once, and an autoscaler asks for its minimum.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from integration.cluster import Manifest, RefusedError
from integration.conftest import Place

_PAUSE_SECONDS: Final = 0.2


@contextmanager
def deployments_that_run(place: Place) -> Iterator[threading.Lock]:
    """Within the block every Deployment of a namespace is soon reported as complete.

    Who holds the lock sees no Deployment that an autoscaler has changed and that is not complete
    yet: what the operator says of it a moment later is no lie.
    """
    done, lock = threading.Event(), threading.Lock()

    def work() -> None:
        while not done.wait(_PAUSE_SECONDS):
            with lock:
                for autoscaler in place.cluster.list_all(
                    "HorizontalPodAutoscaler", place.namespace
                ):
                    _scale(place, autoscaler)
                for deployment in place.cluster.list_all("Deployment", place.namespace):
                    _complete(place, deployment)

    thread = threading.Thread(target=work, name="deployments", daemon=True)
    thread.start()
    try:
        yield lock
    finally:
        done.set()
        thread.join()


def _scale(place: Place, autoscaler: Manifest) -> None:
    name, least = autoscaler["spec"]["scaleTargetRef"]["name"], autoscaler["spec"]["minReplicas"]
    deployment = place.get("Deployment", name)
    if deployment is None or deployment["spec"]["replicas"] in {0, least}:  # 0 switches it off
        return
    try:
        place.cluster.patch(
            "Deployment",
            place.namespace,
            name,
            {"spec": {"replicas": least}},
            subresource="scale",
        )
    except RefusedError as error:
        if error.status != 404:
            raise


def _complete(place: Place, deployment: Manifest) -> None:
    metadata, replicas = deployment["metadata"], deployment["spec"]["replicas"]
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    status: dict[str, Any] = {
        "observedGeneration": metadata["generation"],
        **(dict.fromkeys(names, replicas)),
    }
    before = deployment.get("status", {})
    if all(before.get(name, 0) == value for name, value in status.items()):
        return
    pin = {"resourceVersion": metadata["resourceVersion"]}
    try:
        place.cluster.patch(
            "Deployment",
            place.namespace,
            metadata["name"],
            {"metadata": pin, "status": status},
            subresource="status",
        )
    except RefusedError as error:
        if error.status not in {404, 409}:
            raise
