"""A client inside the cluster: posts pictures through the gateway's Service and DNS name.

It runs in a pod of the runtime's image (which has Python), so that a request takes the
whole way: cluster DNS, Service, NetworkPolicy, pod.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import bench.load as generator
from bench.load import Load, Report
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
# The pod has the project's image, not its tests: the generator's text comes first, its plan next.
LOAD: Final = """
import os, sys
print(os.getpid(), flush=True)
exec(sys.stdin.read(int(sys.stdin.readline())))
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
        self,
        url: str,
        body: Path | bytes,
        *,
        per_second: float,
        most_seconds: float,
        kept: bool = False,
        seed: int = 0,
    ) -> Iterator[PodLoad]:
        """POST a JPEG again and again while the block runs, for a limited time.

        Requests come at random moments and do not wait for answers; each has a connection of its
        own, unless connections are ``kept``. ``stop`` returns what became of them.
        """
        load = Load(
            url=url,
            bodies=[body.read_bytes() if isinstance(body, Path) else body],
            headers={"Content-Type": "image/jpeg"},
            rate=per_second,
            seconds=most_seconds,
            seed=seed,
            fresh_ratio=0.0 if kept else 1.0,
            timeout_seconds=30,
        )
        command = [
            self.kubectl.binary,
            f"--kubeconfig={self.kubectl.kubeconfig}",
            *("exec", "-i", "-n", self.namespace, NAME, "--", "python3", "-c", LOAD),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        source = Path(generator.__file__).read_text()
        number = 0
        try:
            process.stdin.write(f"{len(source)}\n{source}{load.to_json()}\n")
            process.stdin.flush()
            number = int(process.stdout.readline() or 0)
            assert process.stdout.readline(), "the load generator failed; see its traceback"
            yield PodLoad(self, number, process.stdout)
        finally:
            if number:
                self.end(number)
            process.kill()
            process.wait(timeout=10)
            process.stdin.close()
            process.stdout.close()

    def end(self, number: int) -> None:
        """Send SIGTERM to a process in the pod, if it is still there."""
        script = f"kill {number} 2>&1 || true"
        self.kubectl("exec", "-n", self.namespace, NAME, "--", "sh", "-c", script)


@dataclass(frozen=True)
class PodLoad:
    """A load on its way from the pod."""

    client: Client
    number: int
    output: IO[str]

    def stop(self) -> Report:
        """Send nothing more; wait for the answers that are still out."""
        self.client.end(self.number)
        *_, last = self.output.read().splitlines()
        return Report.from_json(last)
