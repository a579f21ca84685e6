"""The part of a download that is here: its bytes, and which object they are of.

Two files beside the package, so that a process that was killed goes on where it was. What they
say is only believed as far as the server confirms it (`models.transfer`).
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

PACKAGE_FILE = "package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which object the bytes are of."""

    uri: str
    """As `describe_uri` gives it: a query may be a credential, and changes with each signature."""
    validator: str
    total_bytes: int | None
    is_refused: bool = False
    """Whether it is whole, and of another digest than the one that was pinned."""


class Part:
    """`<folder>/package.part` and `package.part.json`, which become `<folder>/package`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.target = folder / PACKAGE_FILE
        self.path = folder / f"{PACKAGE_FILE}.part"
        self._note = folder / f"{PACKAGE_FILE}.part.json"

    @property
    def size_bytes(self) -> int:
        """How much is here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def read_origin(self) -> Origin | None:
        """Which object it is of; None if that is not known, and then it is worth nothing."""
        try:
            return Origin(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, origin: Origin) -> None:
        """Start anew with bytes of this object."""
        self.discard()
        self._write_note(origin)
        self.path.touch()

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        with self.path.open("ab") as stream:
            stream.write(chunk)

    def refuse(self) -> None:
        """Keep it, so that the same object is not fetched again."""
        origin = self.read_origin()
        if origin is not None:
            self._write_note(replace(origin, is_refused=True))

    def discard(self) -> None:
        """Forget it: the note first, so that bytes without one are never believed."""
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> Path:
        """Make it the package, at once and for good."""
        _flush(self.path)
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)
        _flush(self._folder)
        return self.target

    def _write_note(self, origin: Origin) -> None:
        self._note.write_text(json.dumps(asdict(origin)))
        _flush(self._note)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
