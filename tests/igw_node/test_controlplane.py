"""A real API server on loopback, as the integration tests use it."""

import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from localnode.controlplane import ControlPlane
from localnode.errors import NodeError
from localnode.versions import load_versions
from node_parts import need_parts

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run one control plane for all tests of this file."""
    need_parts("etcd", "kubernetes")
    folder = tmp_path_factory.mktemp("plane")
    with ControlPlane(folder, users={"alice": ("readers",)}) as running:
        yield running


def _ask(plane: ControlPlane, path: str, body: dict[str, object] | None = None) -> object:
    request = urllib.request.Request(  # noqa: S310 - always https
        f"{plane.url}{path}",
        data=json.dumps(body).encode() if body else None,
        headers={
            "Authorization": f"Bearer {plane.admin_token}",
            "Content-Type": "application/json",
        },
    )
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    with urllib.request.urlopen(request, context=context, timeout=5) as answer:  # noqa: S310
        return json.load(answer)


def test_server_has_the_pinned_version(plane: ControlPlane) -> None:
    """Clients that look at the version see a released one."""
    answer = _ask(plane, "/version")

    assert isinstance(answer, dict)
    assert answer["gitVersion"] == f"v{load_versions().tools['kubernetes'].version}"


def test_writes_are_in_the_audit_log_and_reads_are_not(plane: ControlPlane) -> None:
    """The ledger of writes is complete when the answer has arrived."""
    body: dict[str, object] = {"metadata": {"name": "written"}}
    _ask(plane, "/api/v1/namespaces/default/configmaps", body)
    _ask(plane, "/api/v1/namespaces/default/configmaps/written")

    events = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
    named = [event for event in events if event["objectRef"].get("resource") == "configmaps"]

    assert [event["verb"] for event in named if event["user"]["username"] == "admin"] == ["create"]


def test_every_kind_of_user_gets_a_token(plane: ControlPlane) -> None:
    """Own users, given ones and service accounts; others are refused with the choice."""
    account = plane.token("system:serviceaccount:default:default")

    assert len({plane.token("admin"), plane.token("alice"), account}) == 3
    with pytest.raises(NodeError, match="alice"):
        plane.token("bob")


def test_kubeconfig_may_lead_through_a_proxy(plane: ControlPlane, tmp_path: Path) -> None:
    """A fault proxy takes the server's place in the file."""
    path = plane.kubeconfig(tmp_path / "config", url="https://127.0.0.1:1")

    assert json.loads(path.read_text())["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
