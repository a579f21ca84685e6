"""A plain client of the API server for tests, and a reader of its audit log.

Synchronous on purpose: tests say what they want in the order in which it happens. It knows
nothing of the operator's own client.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from igw_operator import kinds
from igw_operator.kinds import Resource
from localnode.controlplane import ControlPlane

Manifest = dict[str, Any]
OPERATOR_USER = "system:serviceaccount:igw-system:igw-operator"
NAMESPACE = Resource(
    group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False
)
LEASE = Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases")
EVENT = Resource(group="", version="v1", kind="Event", plural="events")
_BY_KIND = {it.kind: it for it in (*kinds.WATCHED, NAMESPACE, EVENT)}
_QUOTA = Resource(group="", version="v1", kind="ResourceQuota", plural="resourcequotas")
_EXTRA = {
    ("CustomResourceDefinition", "apiextensions.k8s.io"): "customresourcedefinitions",
    ("ClusterRole", "rbac.authorization.k8s.io"): "clusterroles",
    ("ClusterRoleBinding", "rbac.authorization.k8s.io"): "clusterrolebindings",
    ("Role", "rbac.authorization.k8s.io"): "roles",
    ("RoleBinding", "rbac.authorization.k8s.io"): "rolebindings",
}


@dataclass(frozen=True)
class Write:
    """One mutating request in the audit log."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @property
    def is_operator(self) -> bool:
        """Whether the operator sent it, and not to its lease."""
        return self.user == OPERATOR_USER and self.resource != "leases"


class RefusedError(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Cluster:
    """One API server, as an administrator sees it."""

    def __init__(self, plane: ControlPlane) -> None:
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        headers = {"Authorization": f"Bearer {plane.admin_token}"}
        self._http = httpx.Client(
            base_url=plane.url, verify=context, headers=headers, timeout=20, trust_env=False
        )
        self._audit_log: Path = plane.audit_log
        self._audited = 0
        self._writes: list[Write] = []

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        **query: Any,
    ) -> Manifest:
        """Send one request; raise `RefusedError` for any failure."""
        answer = self._http.request(
            method,
            path,
            content=None if body is None else json.dumps(body, ensure_ascii=False).encode(),
            headers={"Content-Type": content},
            params=query,
        )
        if answer.status_code >= 400:
            raise RefusedError(answer.status_code, _read_message(answer))
        return dict(answer.json())

    def row(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """One object as `kubectl get -o wide` shows it: its cells by their columns' names."""
        table = self._http.get(
            _BY_KIND[kind].path(namespace, name),
            headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
        ).json()
        names = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(names, table["rows"][0]["cells"], strict=True))

    def apply(self, manifest: Manifest, manager: str = "tester", *, force: bool = True) -> Manifest:
        """Server-side apply."""
        return self.request(
            "PATCH",
            path_of(manifest),
            manifest,
            "application/apply-patch+yaml",
            fieldManager=manager,
            force=str(force).lower(),
        )

    def create(self, manifest: Manifest) -> Manifest:
        """Create, as `kubectl create` does: an unknown field is an error."""
        collection = path_of(manifest).rpartition("/")[0]
        return self.request("POST", collection, manifest, fieldValidation="Strict")

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object, or None."""
        try:
            return self.request("GET", _BY_KIND[kind].path(namespace, name))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def must_get(self, kind: str, namespace: str, name: str) -> Manifest:
        """One object that is there."""
        found = self.get(kind, namespace, name)
        assert found is not None, f"{kind} {namespace}/{name} is not there"
        return found

    def list_all(self, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        """Objects of a kind."""
        resource = _BY_KIND[kind]
        answer = self.request("GET", resource.path(namespace), labelSelector=selector)
        named = {"apiVersion": resource.api_version, "kind": kind}
        return [named | item for item in answer["items"]]

    def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        patch: Manifest,
        subresource: str = "",
        **query: Any,
    ) -> Manifest:
        """Merge-patch, as a user with `kubectl patch --type=merge` does."""
        path = _BY_KIND[kind].path(namespace, name, subresource)
        return self.request("PATCH", path, patch, "application/merge-patch+json", **query)

    def delete(self, kind: str, namespace: str, name: str, **query: Any) -> None:
        """Delete one object."""
        self.request("DELETE", _BY_KIND[kind].path(namespace, name), **query)

    def children(self, namespace: str) -> dict[tuple[str, str], Manifest]:
        """Every child in a namespace that the operator made."""
        found: dict[tuple[str, str], Manifest] = {}
        for resource in kinds.CHILDREN:
            try:
                items = self.list_all(resource.kind, namespace, resource.selector)
            except RefusedError as error:
                # 429: "storage is (re)initializing", just after the CRD was made.
                if error.status in {404, 429} and resource.optional:
                    continue
                raise
            found |= {(item["kind"], item["metadata"]["name"]): item for item in items}
        return found

    def condition(self, namespace: str, name: str, kind: str) -> Manifest:
        """A condition of a gateway; empty where there is none."""
        gateway = self.must_get("InferenceGateway", namespace, name)
        conditions = gateway.get("status", {}).get("conditions", [])
        return next((it for it in conditions if it["type"] == kind), {})

    def writes(self) -> list[Write]:
        """Every write that was tried so far."""
        with self._audit_log.open("rb") as log:
            log.seek(self._audited)
            # A line that is being written is for the next time.
            lines, end, _ = log.read().rpartition(b"\n")
        self._audited += len(lines) + len(end)
        self._writes += [_parse_write(json.loads(line)) for line in lines.splitlines()]
        return list(self._writes)

    @contextmanager
    def recording(self, namespace: str) -> Iterator[list[Write]]:
        """The operator's writes to a namespace within the block; filled when it ends."""
        start = len(self.writes())
        recorded: list[Write] = []
        yield recorded
        writes = self.writes()[start:]
        recorded += [it for it in writes if it.is_operator and it.namespace == namespace]

    def wait_settled(
        self, namespace: str, quiet_seconds: float = 1.2, timeout_seconds: float = 40
    ) -> None:
        """Until the operator has written nothing to a namespace for a while."""
        deadline = time.monotonic() + timeout_seconds
        count, since = -1, time.monotonic()
        while time.monotonic() - since < quiet_seconds:
            assert time.monotonic() < deadline, "the operator does not stop writing"
            writes = (it for it in self.writes() if it.is_operator)
            now = sum(1 for it in writes if it.namespace == namespace)
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)


def _read_message(answer: httpx.Response) -> str:
    """What a refusal says: a Status object, or plain text for a path not served (yet)."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return answer.text.strip()


def wait_for(
    check: Callable[[], Any],
    what: str | Callable[[], str],
    timeout_seconds: float = 20,
    pause_seconds: float = 0.05,
) -> Any:
    """Wait until a check gives something true; return it."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, (
            f"not within {timeout_seconds} s: {what if isinstance(what, str) else what()}"
        )
        time.sleep(pause_seconds)


def path_of(manifest: Manifest) -> str:
    """URL path of an object of any kind that tests use."""
    metadata, kind = manifest["metadata"], manifest["kind"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if kind in _BY_KIND:
        return _BY_KIND[kind].path(namespace, name)
    if kind == _QUOTA.kind:
        return _QUOTA.path(namespace, name)
    group, _, version = manifest["apiVersion"].rpartition("/")
    resource = Resource(
        group=group,
        version=version,
        kind=kind,
        plural=_EXTRA[kind, group],
        namespaced=bool(namespace),
    )
    return resource.path(namespace, name)


def _parse_write(entry: Manifest) -> Write:
    about = entry.get("objectRef") or {}
    return Write(
        user=entry["user"]["username"],
        verb=entry["verb"],
        resource=about.get("resource", ""),
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(entry.get("responseStatus") or {}).get("code", 0),
    )
