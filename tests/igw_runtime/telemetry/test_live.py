import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from igw_runtime.settings import LiveSettings, load_settings
from igw_runtime.telemetry.live import LiveWatcher


class Mounted:
    """A ConfigMap volume as the kubelet writes it: file -> ..data/file, ..data -> a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "runtime.json"
        self.version = 0
        self.applied: list[tuple[LiveSettings, str]] = []
        self.write(level="info")
        self.path.symlink_to("..data/runtime.json")
        self.watcher = LiveWatcher(
            self.path, load_settings(self.path), lambda *change: self.applied.append(change)
        )

    def write(self, text: str | None = None, *, level: str = "info", **parts: Any) -> None:
        self.version += 1
        version = self.folder / f"..{self.version}"
        version.mkdir()
        content = {"schemaVersion": 1, "model": {"name": "m"}, **parts}
        content["live"] = {"logging": {"level": level}}
        (version / "runtime.json").write_text(json.dumps(content) if text is None else text)
        swap = self.folder / "..data_tmp"
        swap.symlink_to(version.name)
        swap.rename(self.folder / "..data")


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    """Return a mounted settings file and its watcher."""
    return Mounted(tmp_path)


def test_symlink_swap_is_noticed_and_applied_once(mounted: Mounted) -> None:
    """The kubelet's way of changing a file reaches the process, once for each change."""
    mounted.write(level="debug")
    mounted.watcher.check()
    mounted.watcher.check()

    [(live, live_hash)] = mounted.applied
    assert live.logging.level == "debug"
    assert live_hash == load_settings(mounted.path).live_hash


def test_an_unknown_key_is_named_once_and_the_rest_applied(mounted: Mounted) -> None:
    """A newer operator has written the file; each key is news once."""
    with capture_logs() as lines:
        mounted.write(level="debug", novelty={"issuer": "x"})
        mounted.watcher.check()
        mounted.write(level="error", novelty={"issuer": "x"})
        mounted.watcher.check()

    assert [live.logging.level for live, _ in mounted.applied] == ["debug", "error"]
    [warning] = [line for line in lines if line["event"] == "settings_unknown"]
    assert warning["log_level"] == "warning"
    [explanation] = warning["keys"]
    assert explanation.startswith("novelty: unknown key; allowed here: additionalModels")


def test_unchanged_file_is_not_applied(mounted: Mounted) -> None:
    """Polling alone changes nothing."""
    mounted.watcher.check()
    mounted.write(level="info")
    mounted.watcher.check()

    assert mounted.applied == []


def test_invalid_file_is_rejected_and_the_last_good_stays(mounted: Mounted) -> None:
    """A mistake is logged with its key, once, and the next good file is taken."""
    mounted.write(level="loud")
    with capture_logs() as logs:
        mounted.watcher.check()
        mounted.watcher.check()

    assert mounted.applied == []
    [line] = logs
    assert line["event"] == "settings_rejected"
    assert line["error"].startswith("live.logging.level: should be")

    mounted.write(level="error")
    mounted.watcher.check()
    assert [live.logging.level for live, _ in mounted.applied] == ["error"]


def test_change_outside_live_is_logged_once_and_ignored(mounted: Mounted) -> None:
    """What needs a new pod is said so, and the live part is still applied."""
    mounted.write(level="debug", server={"port": 1234})
    with capture_logs() as logs:
        mounted.watcher.check()
        mounted.watcher.check()

    assert [live.logging.level for live, _ in mounted.applied] == ["debug"]
    [restart] = [line for line in logs if line["event"] == "settings_need_restart"]
    assert restart["sections"] == ["server"]


def test_missing_file_is_waited_for(mounted: Mounted) -> None:
    """In the instant between two versions there may be none."""
    (mounted.folder / "..data").unlink()
    mounted.watcher.check()

    assert mounted.applied == []
