"""A client inside the cluster: posts pictures through the gateway's Service and DNS name.

It runs in a pod of the runtime's image (which has Python), so that a request takes the
whole way: cluster DNS, Service, NetworkPolicy, pod.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.kubectl import Kubectl

NAME: Final = "client"
_POST: Final = """
import json, sys, urllib.error, urllib.request
url, content_type, request_id = sys.argv[1:4]
headers = {"Content-Type": content_type}
if request_id:
    headers["X-Request-ID"] = request_id
request = urllib.request.Request(url, data=sys.stdin.buffer.read(), headers=headers)
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    answer = error
body = answer.read().decode()
print(json.dumps({"status": answer.status, "headers": dict(answer.headers), "body": body}))
"""
_INFER: Final = """
import json, sys
import grpc
from igw_runtime.web.oip import open_inference_pb2 as oip
address, model = sys.argv[1:3]
picture = oip.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
picture.contents.bytes_contents.append(sys.stdin.buffer.read())
with grpc.insecure_channel(address) as channel:
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=oip.ModelInferRequest.SerializeToString,
        response_deserializer=oip.ModelInferResponse.FromString,
    )
    answer = infer(oip.ModelInferRequest(model_name=model, inputs=[picture]), timeout=30)
outputs = {it.name: [text.decode() for text in it.contents.bytes_contents] for it in answer.outputs}
print(json.dumps(outputs))
"""
# So many requests a second, one after the other; it prints what each came to, and ends by
# itself, whoever forgot it.
_LOAD: Final = """
import http.client, sys, time, urllib.error, urllib.request
url, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
body, start, sent = sys.stdin.buffer.read(), time.monotonic(), 0
headers = {"Content-Type": "image/jpeg"}
while time.monotonic() < start + seconds:
    time.sleep(max(0.0, start + sent / rate - time.monotonic()))
    sent += 1
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30)
        answer.read()
        print(answer.status, flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(repr(error), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """What the gateway answered."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def request_id(self) -> str:
        """The X-Request-ID header."""
        lower = {name.lower(): value for name, value in self.headers.items()}
        return lower["x-request-id"]


def client_pod(namespace: str, image: str) -> dict[str, Any]:
    """A pod that waits to be told what to post; fit for the restricted Pod Security Standard."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": NAME,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "7200"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


@dataclass(frozen=True)
class Client:
    """The client pod of one namespace."""

    kubectl: Kubectl
    namespace: str

    def start(self, image: str) -> None:
        """Create the pod and wait until it can be used."""
        self.kubectl.apply(client_pod(self.namespace, image))
        self.kubectl(
            "wait", "-n", self.namespace, "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s"
        )

    def post(
        self,
        url: str,
        body: Path | bytes,
        *,
        content_type: str = "image/jpeg",
        request_id: str = "",
    ) -> Answer:
        """POST a body from inside the cluster."""
        data = body.read_bytes() if isinstance(body, Path) else body
        printed = self.kubectl(
            "exec",
            "-i",
            "-n",
            self.namespace,
            NAME,
            "--",
            "python3",
            "-c",
            _POST,
            url,
            content_type,
            request_id,
            stdin=data,
        )
        return Answer(**json.loads(printed.splitlines()[-1]))

    def infer(self, address: str, model: str, body: Path) -> dict[str, list[str]]:
        """Ask by gRPC; return the texts of each output."""
        exec_in_pod = ("exec", "-i", "-n", self.namespace, NAME, "--", "python3", "-c")
        printed = self.kubectl(*exec_in_pod, _INFER, address, model, stdin=body.read_bytes())
        return dict(json.loads(printed.splitlines()[-1]))

    @contextmanager
    def load(
        self, url: str, body: Path, *, per_second: float, most_seconds: float
    ) -> Iterator[Counter[str]]:
        """POST a body at an even rate while the block runs, for a limited time.

        After the block, what is yielded counts the answers: ``200``, or what went wrong.
        """
        answers: Counter[str] = Counter()
        command = [
            self.kubectl.binary,
            f"--kubeconfig={self.kubectl.kubeconfig}",
            *("exec", "-i", "-n", self.namespace, NAME, "--"),
            *("python3", "-c", _LOAD, url, str(per_second), str(most_seconds)),
        ]
        with tempfile.TemporaryFile("w+") as printed:
            with body.open("rb") as data:
                process = subprocess.Popen(
                    command, stdin=data, stdout=printed, stderr=subprocess.DEVNULL
                )
            try:
                yield answers
            finally:
                process.terminate()
                process.wait(timeout=10)
                printed.seek(0)
                answers.update(line.strip() for line in printed)
