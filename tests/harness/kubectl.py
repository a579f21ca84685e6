"""kubectl as people use it, with JSON in and out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness.shell import CommandError, run

Json = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """One cluster, seen through one kubectl binary and one kubeconfig."""

    binary: str
    kubeconfig: Path

    def __call__(
        self, *args: str, stdin: str | bytes | None = None, timeout_seconds: float = 120
    ) -> str:
        """Run kubectl and return what it printed."""
        command = [self.binary, f"--kubeconfig={self.kubeconfig}", *args]
        return run(command, stdin=stdin, timeout_seconds=timeout_seconds)

    def apply(self, *manifests: Json) -> str:
        """Apply objects as a user does, client-side."""
        return self(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}),
        )

    def get(self, kind: str, name: str, namespace: str = "default") -> Json | None:
        """The object, or None where there is none."""
        try:
            found: Json = json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))
        except CommandError as error:
            if "NotFound" in str(error) or "not found" in str(error):
                return None
            raise
        return found

    def items(self, kind: str, namespace: str, selector: str = "") -> list[Json]:
        """The objects of a kind in a namespace."""
        args = ["get", kind, "-n", namespace, "-o", "json"]
        if selector:
            args += ["-l", selector]
        items: list[Json] = json.loads(self(*args))["items"]
        return items

    def condition(self, kind: str, name: str, namespace: str, condition: str) -> Json | None:
        """A status condition of an object, or None."""
        found = self.get(kind, name, namespace) or {}
        for entry in found.get("status", {}).get("conditions", []):
            if entry["type"] == condition:
                result: Json = entry
                return result
        return None

    def prometheus(self, query: str) -> list[Json]:
        """The result of an instant query, through the API server's proxy."""
        result: list[Json] = self.ask_prometheus("query", query=query)["result"]
        return result

    def ask_prometheus(self, endpoint: str, **parameters: str) -> Any:
        """The data of an answer of Prometheus' HTTP API, through the API server's proxy.

        Raises:
            CommandError: it refused; the message holds what was asked.
        """
        path = (
            f"/api/v1/namespaces/monitoring/services/prometheus:web/proxy/api/v1/{endpoint}?"
            + urlencode(parameters)
        )
        return json.loads(self("get", "--raw", path))["data"]
