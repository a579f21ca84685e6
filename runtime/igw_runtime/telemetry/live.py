"""The live part of the settings file, followed while the process runs.

Kubernetes replaces a mounted file by swapping a symlink two levels up, which no watch on the
file itself reports: the watcher compares content, once a second. A file that does not parse
changes nothing; a change outside `live` needs a new pod and is only logged.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.settings import LiveSettings, LoadedSettings, parse_settings
from igw_runtime.telemetry import names

POLL_SECONDS: Final = 1.0
_log = structlog.get_logger()

Listener = Callable[[LiveSettings, str], None]


def warn_of_unknown(loaded: LoadedSettings) -> None:
    """Name the keys that this runtime is too old for, or that somebody misspelt."""
    if loaded.unknown:
        _log.warning(names.EVENT_SETTINGS_UNKNOWN, keys=list(loaded.unknown))


class LiveWatcher:
    """Applies each valid new version of the file, exactly once."""

    def __init__(self, path: Path, started_with: LoadedSettings, listener: Listener) -> None:
        self._path = path
        self._current = started_with
        self._listener = listener
        self._seen: bytes | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-settings", daemon=True)

    def start(self) -> None:
        """Follow the file in a thread of its own: a slow disk must not hold up a request."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread soon."""
        self._stop.set()

    def check(self) -> None:
        """Look at the file once, and apply it if it is new, valid and different."""
        try:
            content = self._path.read_bytes()
        except OSError:
            # Between the two steps of a symlink swap there may be no file; look again next time.
            return
        if content == self._seen:
            return
        self._seen = content
        try:
            loaded = parse_settings(content)
        except InvalidSettingsError as error:
            _log.error(names.EVENT_SETTINGS_REJECTED, error=str(error))
            return
        if loaded.unknown != self._current.unknown:
            warn_of_unknown(loaded)
        self._apply(loaded)

    def _apply(self, loaded: LoadedSettings) -> None:
        before = self._current.settings
        if loaded.settings.model_copy(update={"live": before.live}) != before:
            changed = [
                key
                for key in type(before).model_fields
                if key != "live" and getattr(before, key) != getattr(loaded.settings, key)
            ]
            _log.warning(names.EVENT_SETTINGS_NEED_RESTART, sections=changed)
        live = loaded.settings.live
        is_new = loaded.live_hash != self._current.live_hash
        self._current = replace(loaded, settings=before.model_copy(update={"live": live}))
        if not is_new:
            return
        self._listener(live, loaded.live_hash)
        _log.info(names.EVENT_SETTINGS_APPLIED, live_hash=loaded.live_hash)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.check()
