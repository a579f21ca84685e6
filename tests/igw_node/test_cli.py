"""The command line accepts what kind and pytest-kind call it with."""

import pytest

from localnode import verbs
from localnode.cli import build_parser, main
from localnode.errors import NodeError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("create cluster --name=x --kubeconfig=/tmp/k", verbs.create_cluster),
        ("create cluster --name x --config c.yaml --wait 60s", verbs.create_cluster),
        ("delete cluster --name=x --kubeconfig=/tmp/k", verbs.delete_cluster),
        ("get clusters", verbs.get_clusters),
        ("get nodes --name x", verbs.get_nodes),
        ("get kubeconfig --name x", verbs.get_kubeconfig),
        ("get path kubectl", verbs.get_path),
        ("get audit-log --name x", verbs.get_audit_log),
        ("load docker-image a:1 b:2 --name x", verbs.load_images),
        ("load image-archive a.tar --name x", verbs.load_archive),
        ("tag a:1 a:2 --name x", verbs.tag),
        ("export logs out --name x", verbs.export_all_logs),
        ("build -t a:1 -f Dockerfile --target run --build-arg A=B .", verbs.build),
        ("ensure --only etcd,kubernetes --jobs 2", verbs.ensure_all),
        ("purge", verbs.purge),
        ("verify-clean", verbs.verify_clean),
    ],
)
def test_line_is_understood(line: str, expected: object) -> None:
    """Each verb leads to its function."""
    assert build_parser().parse_args(line.split()).act is expected


def test_default_name_is_kinds() -> None:
    """Without a name the cluster is called as kind would call it."""
    assert build_parser().parse_args(["create", "cluster"]).name == "kind"


def test_an_error_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the user can act on is no traceback."""

    def fail(_: object) -> int:
        message = "it is missing; run this"
        raise NodeError(message)

    monkeypatch.setattr(verbs, "purge", fail)

    assert main(["purge"]) == 1
    assert capsys.readouterr().err == "ERROR: it is missing; run this\n"


def test_without_root_the_next_command_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node needs root, and says so before it does anything."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert main(["create", "cluster"]) == 1
    assert "sudo" in capsys.readouterr().err
