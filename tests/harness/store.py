"""A pod that serves files by HTTP, beside a gateway that fetches its model.

It runs in the runtime's image, which has Python and a model to pack; plain HTTP without ranges is
what Python's own server offers. What is served lies in `FOLDER`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from harness.client import client_pod
from harness.kubectl import Kubectl

NAME: Final = "store"
PORT: Final = 8000
FOLDER: Final = "/tmp/store"  # noqa: S108 - a path in the pod
_PACK: Final = (
    "import sys, tarfile; archive = tarfile.open(sys.argv[2], 'w:gz'); "
    "archive.add(sys.argv[1], 'model'); archive.close()"
)
_DIGEST: Final = (
    "import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256').hexdigest())"
)


@dataclass(frozen=True)
class FileStore:
    """The store of one namespace."""

    kubectl: Kubectl
    namespace: str

    @property
    def url(self) -> str:
        """Base URL, inside the cluster."""
        return f"http://{NAME}.{self.namespace}.svc:{PORT}"

    def start(self, image: str) -> None:
        """Create the pod and its Service, and wait until it answers."""
        self.kubectl.apply(_pod(self.namespace, image), _service(self.namespace))
        self.kubectl(
            "wait", "-n", self.namespace, "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s"
        )

    def pack(self, model: str, file: str) -> str:
        """Put an archive of one of the image's models there; return its digest."""
        path = f"{FOLDER}/{file}"
        self._run(_PACK, f"/models/{model}", f"{path}.new")
        digest = self._run(_DIGEST, f"{path}.new").strip()
        # At once, or a gateway that asks right now would get half of it.
        self.rename(f"{file}.new", file)
        return digest

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        code = "import os, sys; os.rename(*sys.argv[1:])"
        self._run(code, f"{FOLDER}/{old}", f"{FOLDER}/{new}")

    def _run(self, code: str, *arguments: str) -> str:
        exec_in_pod = ("exec", "-n", self.namespace, NAME, "--", "python3", "-c")
        return self.kubectl(*exec_in_pod, code, *arguments)


def _pod(namespace: str, image: str) -> dict[str, Any]:
    pod = client_pod(namespace, image)
    pod["metadata"] |= {"name": NAME, "labels": {"app": NAME}}
    (container,) = pod["spec"]["containers"]
    container |= {
        "name": NAME,
        "command": ["python3", "-m", "http.server", str(PORT), "--directory", FOLDER],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "files", "mountPath": FOLDER}],
    }
    pod["spec"]["volumes"] = [{"name": "files", "emptyDir": {}}]
    # The volume is root's; the group may write.
    pod["spec"]["securityContext"]["fsGroup"] = 65532
    return pod


def _service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
    }
