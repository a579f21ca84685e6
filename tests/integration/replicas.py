"""Replicas as everybody sees them: how they are set, and every value that they take."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from igw_operator import kinds
from integration.cluster import Cluster, Manifest, wait_for
from integration.conftest import Place

_QUIET_SECONDS = 0.5


def scale(place: Place, replicas: int) -> None:
    """Scale as an autoscaler does: through the subresource."""
    patch = {"spec": {"replicas": replicas}}
    place.cluster.patch("Deployment", place.namespace, "photos", patch, subresource="scale")


@contextmanager
def watching_replicas(cluster: Cluster, namespace: str) -> Iterator[list[int]]:
    """Every value that ``spec.replicas`` of the Deployment takes within the block."""
    seen: list[int] = []

    def note(_: str, deployment: Manifest) -> None:
        replicas = deployment["spec"]["replicas"]
        if not seen or seen[-1] != replicas:
            seen.append(replicas)

    query = {"fieldSelector": "metadata.name=photos"}
    with _watching(cluster, kinds.DEPLOYMENT.path(namespace), query, note):
        wait_for(lambda: seen, "the first state")
        yield seen


@contextmanager
def watching_autoscalers(cluster: Cluster, namespace: str) -> Iterator[list[set[str]]]:
    """Names of the HPAs that are there at a time, whosever they are: every set within the block."""
    seen: list[set[str]] = [set()]

    def note(event: str, hpa: Manifest) -> None:
        name = {hpa["metadata"]["name"]}
        now = seen[-1] - name if event == "DELETED" else seen[-1] | name
        if now != seen[-1]:
            seen.append(now)

    with _watching(cluster, kinds.AUTOSCALER.path(namespace), {}, note):
        yield seen


@contextmanager
def _watching(
    cluster: Cluster, path: str, query: dict[str, str], note: Callable[[str, Manifest], None]
) -> Iterator[None]:
    stop = threading.Event()
    broken: list[Exception] = []

    def watch() -> None:
        timeout = httpx.Timeout(20, read=None)
        parameters = {"watch": "1", **query}
        try:
            with cluster._http.stream("GET", path, params=parameters, timeout=timeout) as stream:
                for line in stream.iter_lines():
                    if stop.is_set():
                        return
                    event = json.loads(line)
                    note(event["type"], event["object"])
        except httpx.HTTPError as error:
            broken.append(error)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    time.sleep(_QUIET_SECONDS)
    assert thread.is_alive(), f"the watch has ended too early: {broken}"
    stop.set()
