"""Kubeconfig files in kind's shape."""

import base64
import json
import stat
from pathlib import Path

from localnode.kubeconfig import build_kubeconfig, write_kubeconfig

CONFIG = build_kubeconfig(name="kind-x", url="https://127.0.0.1:1", ca=b"pem", token="secret")


def test_cluster_user_and_context_share_kinds_name() -> None:
    """Tools that look for 'kind-NAME' find it."""
    assert CONFIG["current-context"] == "kind-x"
    assert CONFIG["contexts"][0]["context"] == {"cluster": "kind-x", "user": "kind-x"}
    assert CONFIG["users"][0]["user"] == {"token": "secret"}


def test_authority_is_embedded() -> None:
    """The file works from anywhere: it refers to no other file."""
    cluster = CONFIG["clusters"][0]["cluster"]

    assert base64.b64decode(cluster["certificate-authority-data"]) == b"pem"


def test_file_is_its_owners_only(tmp_path: Path) -> None:
    """A token is nobody else's business."""
    path = write_kubeconfig(tmp_path / "a" / "config", CONFIG)

    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    assert json.loads(path.read_text()) == CONFIG
