"""Replicas go in every way that there is, under a load that does not wait for them.

Ten thousand requests from a pod in the cluster, through DNS, Service and policy, on new
connections, on kept ones, and on ones that are hardly used. None is sent twice, and none may fail.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest
from PIL import Image

from bench.load import Report
from harness.client import Client, PodLoad
from harness.gateway import Gateway
from harness.kubectl import Kubectl
from harness.shell import ROOT, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
REQUESTS: Final = 10_000
# name -> (requests a second, whether connections are kept). One replica answers more than all of
# these alone: what is lost is lost by the change of replicas.
SENDERS: Final = {
    "new": (20.0, False),
    "kept": (20.0, True),
    **{f"hardly used {number}": (1.0, True) for number in range(4)},
}
RATE: Final = sum(rate for rate, _ in SENDERS.values())


def a_picture() -> bytes:
    """A photograph, small enough to be decoded in no time."""
    image = Image.open(ROOT / "tests" / "pictures" / "coffee.jpg")
    image.thumbnail((256, 256))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


class Replicas:
    """The replicas of one gateway, and the ways in which they go."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.kubectl = gateway.kubectl

    def names(self) -> set[str]:
        """The pods that are not on their way out."""
        return {
            str(pod["metadata"]["name"])
            for pod in self.gateway.pods()
            if "deletionTimestamp" not in pod["metadata"]
        }

    def restart(self) -> None:
        """`kubectl rollout restart`: all of them, one after the other."""
        before = self.names()
        deployment = f"deployment/{self.gateway.name}"
        self.kubectl("rollout", "restart", deployment, "-n", self.gateway.namespace)
        self._wait_replaced(before)

    def scale_up_and_down(self) -> None:
        """One more, and one less."""
        size = len(self.names())
        self.gateway.patch({"replicas": size + 1})
        self._wait_available(size + 1)
        self.gateway.patch({"replicas": size})
        wait_for("one to go", lambda: len(self.gateway.pods()) == size, timeout_seconds=90)

    def delete_one(self) -> None:
        """`kubectl delete pod`, which returns when it is gone."""
        size = len(self.names())
        self.kubectl("delete", "pod", min(self.names()), "-n", self.gateway.namespace)
        self._wait_available(size)

    def drain_node(self) -> None:
        """`kubectl drain`, by the Eviction API; the node takes new pods again at once.

        There is no other node, and nothing else on it is to go.
        """
        before = self.names()
        node = self.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").strip()
        with ThreadPoolExecutor(1) as pool:
            drained = pool.submit(
                self.kubectl,
                *("drain", node, "--delete-emptydir-data", "--timeout=120s"),
                f"--pod-selector={self.gateway.selector('runtime')}",
                timeout_seconds=150,
            )
            try:
                wait_for("the cordon", lambda: self._is_cordoned(node), timeout_seconds=30)
            finally:
                self.kubectl("uncordon", node)
            while not drained.done():
                assert self._count("ready") >= 1, "the budget was not kept"
                time.sleep(0.5)
            drained.result()
        self._wait_replaced(before)

    def _is_cordoned(self, node: str) -> bool:
        found = self.kubectl.get("node", node) or {}
        return bool(found["spec"].get("unschedulable"))

    def _count(self, how: str) -> int:
        """How many replicas are ready, or available."""
        found = self.kubectl.get("deployment", self.gateway.name, self.gateway.namespace) or {}
        return int(found["status"].get(f"{how}Replicas", 0))

    def _wait_available(self, count: int) -> None:
        wait_for(
            f"{count} available replicas",
            lambda: self._count("available") == count == len(self.names()),
            timeout_seconds=120,
        )

    def _wait_replaced(self, before: set[str]) -> None:
        """Wait until every pod is a new one and available, and the old ones are gone."""
        wait_for(
            "new replicas only",
            lambda: not before & {pod["metadata"]["name"] for pod in self.gateway.pods()},
            timeout_seconds=150,
        )
        self._wait_available(len(before))


@contextmanager
def sending(client: Client, url: str) -> Iterator[dict[str, PodLoad]]:
    """All senders, within the block."""
    body = a_picture()
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                client.load(url, body, per_second=rate, most_seconds=500, kept=kept, seed=number)
            )
            for number, (name, (rate, kept)) in enumerate(SENDERS.items())
        }


@pytest.fixture
def replicas(gateway: Gateway, client: Client) -> Replicas:
    """Two replicas that serve."""
    gateway.apply(
        replicas=2,
        # New pods start on the same two processors: what waits for one must not be too much.
        serving={"maxQueue": 512},
        observability={"collector": {"mode": "Disabled"}},
    )
    gateway.wait_ready()
    assert client.post(f"{gateway.url}/predict", a_picture()).status == 200
    return Replicas(gateway)


def test_no_request_is_lost_however_replicas_go(
    replicas: Replicas, client: Client, kubectl: Kubectl
) -> None:
    """Rolling restart, scale-down, deletion, eviction by a drain; then deletions to the end."""
    gateway = replicas.gateway
    with sending(client, f"{gateway.url}/predict") as loads:
        began = time.monotonic()
        replicas.restart()
        replicas.scale_up_and_down()
        replicas.delete_one()
        replicas.drain_node()
        # A Poisson process of so many requests hardly ever has five per cent fewer.
        while (time.monotonic() - began) * RATE < 1.05 * REQUESTS:
            replicas.delete_one()
        reports = {name: load.stop() for name, load in loads.items()}

    lost = {name: describe(it) for name, it in reports.items() if it.failed}
    assert lost == {}
    assert sum(len(it.samples) for it in reports.values()) >= REQUESTS
    for name, report in reports.items():
        reused = sum(it.reused for it in report.samples)
        assert (reused == 0) if name == "new" else (reused > len(report.samples) / 2), name
    assert kubectl.get("poddisruptionbudget", gateway.name, gateway.namespace)
    assert gateway.restarts() == 0


def describe(report: Report) -> list[str]:
    """What was lost, and when; and whether the machine was too busy for such a load at all."""
    late, usual = report.lag_seconds, report.latency(50)
    lost = f"{len(report.failed)} of {len(report.samples)}"
    return [
        f"{lost}; half of the answers took {usual:.2f} s, requests went out {late:.2f} s late",
        *_list_failed(report),
    ]


def _list_failed(report: Report) -> list[str]:
    return [
        f"after {it.intended:.2f} s, {it.seconds:.2f} s later: {it.fault or it.status}, "
        f"on a {'kept' if it.reused else 'new'} connection"
        for it in report.failed[:10]
    ]
