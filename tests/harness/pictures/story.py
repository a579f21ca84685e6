"""A quarter of an hour in the life of a real gateway, and what Prometheus saw of it.

The first half of ``make pictures``: on the cluster that is up, or on a new one, three gateways are
asked by an open loop, and what happens to gateways happens to them. Then every query of every
dashboard is asked, and the answers are kept for ``harness.pictures.draw``.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from PIL import Image

from harness import provider as providers
from harness.client import Client
from harness.demo import set_up
from harness.gateway import RUNTIME_IMAGE, Gateway
from harness.kubectl import Kubectl
from harness.pictures.asking import STEP, ask_dashboard
from harness.pictures.plan import ANSWERS, DASHBOARDS, MADE, ROOT
from harness.shell import CommandError, say, step
from igw_operator.plan.slo.names import OBJECTIVE

_COFFEE, _CHELSEA = (ROOT / "tests" / "pictures" / f"{it}.jpg" for it in ("coffee", "chelsea"))
_TEAMS: Final = ("shop", "research")
_CHOSEN: Final = {
    "igw-gateway": {"namespace": "shop", "gateway": "photos", "threshold": "0.3"},
    "igw-fleet": {"namespace": "|".join(_TEAMS)},
    "igw-operator": {},
}
_RUNTIME: Final = "vision"
_NEXT: Final = f"{RUNTIME_IMAGE.rpartition(':')[0]}:pictures-next"
_SECONDS: Final = 750
_LARGE: Final = (5000, 3333)
_SHARED: Final = {
    "runtimeRef": {"name": _RUNTIME},
    "slo": {
        "availability": {"objective": 99},
        "latency": {"threshold": "300ms", "objective": 95},
    },
    "serving": {"maxQueue": 16},
    "cost": {"perReplicaHour": 0.38, "currency": "EUR"},
}


def main() -> None:
    """Have it happen, ask, and keep the answers."""
    provider = providers.choose()
    try:
        kubectl = set_up(provider)
        provider.tag(RUNTIME_IMAGE, _NEXT)
        with _fleet(kubectl) as client, step(f"Load, for {_SECONDS} seconds"):
            story = Story()
            _live(kubectl, client, story)
            times = story.times()
            kept = {
                uid: ask_dashboard(kubectl.ask_prometheus, _read(uid), chosen, times)
                for uid, chosen in _CHOSEN.items()
            }
    except (CommandError, TimeoutError) as error:
        sys.exit(f"\n✗ {error}")
    ANSWERS.write_text(json.dumps({"times": list(times), "dashboards": kept}))
    MADE.write_text(json.dumps(story.to_json(), indent=1) + "\n")


class Story:
    """What happened, and when."""

    def __init__(self) -> None:
        self._began = time.time()
        self._moments: list[tuple[str, str]] = []

    def go_on(self, second: int, what: str) -> None:
        """Wait until so many seconds after the beginning; then this happens."""
        time.sleep(max(0.0, self._began + second - time.time()))
        self._moments.append((f"{datetime.now(UTC):%H:%M}", what))
        say(" ".join(self._moments[-1]), indent=1)

    def times(self) -> range:
        """From the beginning until now, as Grafana asks for it: on whole steps."""
        first, last = (int(it // STEP) * STEP for it in (self._began, time.time()))
        return range(first, last + 1, STEP)

    def to_json(self) -> dict[str, Any]:
        """The day and the moments."""
        day = f"{datetime.fromtimestamp(self._began, UTC):%Y-%m-%d}"
        return {"day": day, "moments": self._moments}


@contextmanager
def _fleet(kubectl: Kubectl) -> Iterator[Client]:
    """Three gateways of two teams, and a client beside two of them; gone afterwards."""
    if kubectl.prometheus(f'present_over_time({OBJECTIVE}{{namespace="{_TEAMS[0]}"}}[30d])'):
        message = "Prometheus remembers an earlier run: `make demo-down` first"
        raise CommandError(message)
    with ExitStack() as stack, step("Gateways"):
        kubectl.apply(_build_runtime(), *map(_build_namespace, _TEAMS))
        stack.callback(kubectl, "delete", "igwr", _RUNTIME)
        for team in _TEAMS:
            stack.callback(kubectl, "delete", "namespace", team, timeout_seconds=180)
        photos, thumbnails = (Gateway(kubectl, "shop", it) for it in ("photos", "thumbnails"))
        small = _build_resources(request="100m", limit="250m")
        photos.apply(**_SHARED, replicas=2, resources=small)
        thumbnails.apply(**_SHARED, resources=small)
        too_large = _build_resources(request="64", limit="64")
        Gateway(kubectl, "research", "defects").apply(**_SHARED, resources=too_large)
        client = Client(kubectl, "shop")
        client.start(RUNTIME_IMAGE)
        for gateway in (photos, thumbnails):
            gateway.wait_ready()
        yield client


def _live(kubectl: Kubectl, client: Client, story: Story) -> None:
    """All that happens. Every request is a real one."""
    photos, thumbnails = (f"http://{it}.shop.svc/predict" for it in ("photos", "thumbnails"))
    steady = ((photos, _COFFEE, 5), (photos, _CHELSEA, 3), (thumbnails, _CHELSEA, 1))
    with ExitStack() as stack:
        loads = [
            stack.enter_context(client.load(url, body, per_second=rate, most_seconds=2 * _SECONDS))
            for url, body, rate in steady
        ]
        story.go_on(0, "`photos` answers 8 requests a second with two replicas")
        story.go_on(120, "another runtime image is rolled out, in two waves")
        patch = json.dumps({"spec": {"image": _NEXT}})
        kubectl("patch", "igwr", _RUNTIME, "--type=merge", "-p", patch)
        story.go_on(300, "each second, a photograph of 17 megapixels comes as well")
        with client.load(photos, _make_large(), per_second=1, most_seconds=120):
            story.go_on(420, "no more of these")
        story.go_on(500, "ten times the load, for 35 seconds")
        with client.load(photos, _COFFEE, per_second=72, most_seconds=35):
            time.sleep(35)
        story.go_on(640, "one of the two pods is deleted")
        (pod, *_) = Gateway(kubectl, "shop").pods()
        kubectl("delete", "pod", pod["metadata"]["name"], "-n", "shop", "--wait=false")
        story.go_on(_SECONDS, "the load ends")
        for load in loads:
            report = load.stop()
            say(f"{len(report.answered)} answers; else: {report.faults}", indent=1)


def _build_runtime() -> dict[str, Any]:
    return {
        "apiVersion": "inference.igw.dev/v1alpha1",
        "kind": "InferenceRuntime",
        "metadata": {"name": _RUNTIME},
        "spec": {"image": RUNTIME_IMAGE, "rollout": {"waves": [{"percent": 50}], "soak": "20s"}},
    }


def _build_namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _build_resources(*, request: str, limit: str) -> dict[str, Any]:
    return {
        "requests": {"cpu": request, "memory": "384Mi"},
        "limits": {"cpu": limit, "memory": "1Gi"},
    }


def _make_large() -> bytes:
    """A photograph as a camera makes it: decoding it takes longer than all the rest."""
    written = io.BytesIO()
    with Image.open(_COFFEE) as image:
        image.resize(_LARGE).save(written, "WEBP", quality=85)
    return written.getvalue()


def _read(uid: str) -> Any:
    return json.loads((DASHBOARDS / f"{uid}.json").read_text())


if __name__ == "__main__":
    main()
