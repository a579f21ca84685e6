"""Builds are keyed by content: nothing changed means nothing to do."""

from dataclasses import replace
from pathlib import Path

import pytest

from localnode.build import BuildRequest, build_pip_config, compute_build_key
from localnode.context import is_ignored, parse_ignore

BASES = {"docker.io/library/python:3.11": "key"}


@pytest.fixture
def request_of(tmp_path: Path) -> BuildRequest:
    """Return a request for a small context with an ignore file."""
    (tmp_path / "Dockerfile").write_text("FROM python:3.11\nCOPY . /\n")
    (tmp_path / ".dockerignore").write_text("*.log\n.git\n")
    (tmp_path / "app.py").write_text("print()\n")
    return BuildRequest(tag="a:1", context=tmp_path, dockerfile=tmp_path / "Dockerfile")


def test_ignored_file_changes_nothing(request_of: BuildRequest) -> None:
    """What the build cannot see does not decide it."""
    before = compute_build_key(request_of, BASES)
    (request_of.context / "noise.log").write_text("x")
    (request_of.context / ".git").mkdir()
    (request_of.context / ".git" / "index").write_text("x")

    assert compute_build_key(request_of, BASES) == before


def test_changed_file_is_another_build(request_of: BuildRequest) -> None:
    """A changed source is seen."""
    before = compute_build_key(request_of, BASES)
    (request_of.context / "app.py").write_text("print(1)\n")

    assert compute_build_key(request_of, BASES) != before


def test_mode_argument_target_and_base_are_inputs(request_of: BuildRequest) -> None:
    """Everything that decides the image decides the key."""
    keys = {
        compute_build_key(request_of, BASES),
        compute_build_key(replace(request_of, build_args=("A=1",)), BASES),
        compute_build_key(replace(request_of, target="run"), BASES),
        compute_build_key(request_of, {"docker.io/library/python:3.11": "other"}),
    }
    (request_of.context / "app.py").chmod(0o755)
    keys.add(compute_build_key(request_of, BASES))

    assert len(keys) == 5


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("a.log", True),
        ("sub/a.log", False),
        ("sub/deep/a.tmp", True),
        ("tests/unit/test_a.py", True),
        ("tests/keep.py", False),
        ("src/main.py", False),
    ],
)
def test_ignore_rules_follow_docker(path: str, ignored: bool) -> None:
    """Patterns are rooted, '**' spans folders, and the last match wins."""
    rules = parse_ignore("# comment\n*.log\n**/*.tmp\ntests/\n!tests/keep.py\n")

    assert is_ignored(path, rules) is ignored


def test_pip_settings_are_the_machines() -> None:
    """Variables override the machine's file; certificates are the build's own path."""
    environment = {"PIP_DEFAULT_TIMEOUT": "9", "PIP_CERT": "/host.crt", "HOME": "/root"}

    text = build_pip_config(environment, "[global]\ndefault-timeout = 5\nretries = 2\n", "/ca.crt")

    assert text.splitlines() == ["[global]", "cert = /ca.crt", "default-timeout = 9", "retries = 2"]
