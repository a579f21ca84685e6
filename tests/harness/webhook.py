"""A receiver in the cluster, to which Alertmanager sends its notifications as to a pager.

It runs in a pod of the runtime's image, which has Python, behind a Service, and prints each
notification with the time of its arrival.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from harness.client import client_pod
from harness.kubectl import Json, Kubectl

NAME: Final = "webhook"
_PORT: Final = 8080
_SERVER: Final = """
import json, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(json.dumps({"at": time.time(), "body": body}), flush=True)
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Notified:
    """One alert of one notification."""

    at: float
    """When it arrived, in seconds since 1970, by the node's clock."""
    status: str
    """``firing`` or ``resolved``."""
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class Webhook:
    """The receiver of one namespace."""

    kubectl: Kubectl
    namespace: str

    @property
    def url(self) -> str:
        """Where Alertmanager reaches it."""
        return f"http://{NAME}.{self.namespace}.svc:{_PORT}/"

    def start(self, image: str) -> None:
        """Create pod and Service, and wait until it listens."""
        pod = client_pod(self.namespace, image)
        labels = {"app.kubernetes.io/name": NAME}
        pod["metadata"] |= {"name": NAME, "labels": labels}
        (container,) = pod["spec"]["containers"]
        probe: dict[str, Any] = {"httpGet": {"path": "/", "port": _PORT}, "periodSeconds": 1}
        container |= {
            "name": NAME,
            "command": ["python3", "-c", _SERVER],
            "readinessProbe": probe,
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {"selector": labels, "ports": [{"port": _PORT}]},
        }
        self.kubectl.apply(pod, service)
        self.kubectl(
            "wait", "-n", self.namespace, "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s"
        )

    def notified(self, alert: str, **labels: str) -> list[Notified]:
        """The alerts of a name that have arrived, in order; ``labels`` are some that they have."""
        wanted = {"alertname": alert, **labels}.items()
        return [it for it in self._all() if wanted <= it.labels.items()]

    def _all(self) -> Iterator[Notified]:
        for line in self.kubectl("logs", "-n", self.namespace, NAME).splitlines():
            notification: Json = json.loads(line)
            for alert in notification["body"]["alerts"]:
                yield Notified(
                    at=float(notification["at"]),
                    status=alert["status"],
                    labels=alert["labels"],
                    annotations=alert["annotations"],
                )
