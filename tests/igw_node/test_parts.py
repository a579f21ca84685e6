"""A test that needs a part of the node, on a machine without it."""

from pathlib import Path

import pytest

from node_parts import need_parts, shared_folder


def test_a_missing_part_fails_the_test_with_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and nothing is skipped."""
    monkeypatch.setenv("IGW_CACHE", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="not built: etcd, kwok; run `make parts`"):
        need_parts("etcd", "kwok")
    with pytest.raises(pytest.fail.Exception, match="gateway-api"):
        shared_folder("gateway-api", "gateway-api-crds")
