"""Fetching a model package, before the process that serves it starts (an init container).

A package that is fetched is one archive. It is whole and of the pinned digest, or it is not
there: bytes go to a part that is flushed and renamed at the end. A cut connection, a server
error or a killed process go on from the last byte, if the server confirms that the object is
still the same one; else from the first.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from igw_runtime.errors import (
    InvalidSettingsError,
    ModelDigestMismatchError,
    ModelLoadFailedError,
    ModelNotFoundError,
)
from igw_runtime.models.artifact import hash_file
from igw_runtime.models.location import Location, describe_uri, find_location
from igw_runtime.models.part import Origin, Part
from igw_runtime.models.transfer import (
    ChangedError,
    RefusedError,
    Reply,
    TransientError,
    UnchangedError,
    open_object,
)

MAX_BYTES: Final = 8 << 30
"""As large as an archive may be unpacked: it is read into memory."""
_FRUITLESS_ATTEMPTS: Final = 6
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOrder:
    """What to fetch and where to put it; an empty sha256 pins nothing."""

    uri: str
    sha256: str
    folder: Path
    max_bytes: int = MAX_BYTES
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def fetch_package(order: FetchOrder, *, wait: Callable[[float], None] = time.sleep) -> Path:
    """Return where the package is, once it is there, whole and of the pinned digest."""
    if order.uri.startswith("http://") and not order.sha256:
        message = f"{describe_uri(order.uri)}: without TLS, sha256 has to say what is expected"
        raise InvalidSettingsError(message)
    try:
        return _Fetch(order, wait).run()
    except RefusedError as error:
        message = f"{describe_uri(order.uri)}: {error}"
        raise ModelNotFoundError(message) from error
    except OSError as error:
        message = f"cannot write to {order.folder}: {error.strerror or error}"
        raise ModelLoadFailedError(message) from error


class _Fetch:
    """One run.

    `_furthest` tells progress from a server that always cuts at the same byte, `_is_resumed` an
    object in several pieces from one that came at once.
    """

    def __init__(self, order: FetchOrder, wait: Callable[[float], None]) -> None:
        self._order = order
        self._wait = wait
        self._name = describe_uri(order.uri)
        self._part = Part(order.folder)
        self._furthest = 0
        self._is_resumed = False

    def run(self) -> Path:
        self._order.folder.mkdir(parents=True, exist_ok=True)
        if self._is_there():
            _log.info("package_is_there", path=str(self._part.target))
            return self._part.target
        # Of what an earlier process left, only the digest can say whether it is of one piece.
        self._is_resumed = self._part.size_bytes > 0
        origin = self._known_origin()
        if origin is not None and origin.is_refused:
            self._ask_for_another(origin)
        self._download()
        if self._is_resumed and not self._matches(self._part.path):
            # Not necessarily the object's fault: a validator may lie. The whole, from one hand.
            _log.warning("package_fetched_anew", uri=self._name)
            self._part.discard()
            self._download()
        if not self._matches(self._part.path):
            self._part.refuse()
            raise self._mismatch()
        path = self._part.finish()
        _log.info("package_fetched", uri=self._name, path=str(path), size=path.stat().st_size)
        return path

    def _is_there(self) -> bool:
        """A container that is started again finds what it had finished."""
        target = self._part.target
        if target.exists() and not self._matches(target):
            target.unlink()
        return target.exists()

    def _matches(self, path: Path) -> bool:
        return not self._order.sha256 or hash_file(path) == self._order.sha256

    def _mismatch(self) -> ModelDigestMismatchError:
        actual = hash_file(self._part.path)
        message = f"{self._name} has sha256 {actual}, the settings pin {self._order.sha256}"
        return ModelDigestMismatchError(message)

    def _ask_for_another(self, origin: Origin) -> None:
        """Get the object only if it is no longer the one whose digest was wrong before."""
        try:
            with open_object(self._locate(), unless=origin.validator) as reply:
                self._take(reply)
        except UnchangedError as error:
            raise self._mismatch() from error
        except TransientError as error:
            _log.warning("fetch_interrupted", uri=self._name, error=str(error))

    def _download(self) -> None:
        """Get what is missing, attempt by attempt."""
        fruitless = 0
        while not self._is_whole():
            before = self._furthest
            try:
                self._attempt()
            except (TransientError, ChangedError) as error:
                if isinstance(error, ChangedError):
                    self._part.discard()
                fruitless = 1 if self._furthest > before else fruitless + 1
                if fruitless >= _FRUITLESS_ATTEMPTS:
                    message = f"{self._name}: {error} ({fruitless} times, without progress)"
                    # Not ModelNotFound, which no waiting cures.
                    raise ModelLoadFailedError(message) from error
                self._pause(fruitless, error)
            else:
                return

    def _attempt(self) -> None:
        origin = self._known_origin()
        offset = self._part.size_bytes if origin and origin.validator else 0
        validator = origin.validator if origin else ""
        with open_object(self._locate(), offset=offset, validator=validator) as reply:
            if reply.offset and origin and reply.total_bytes != origin.total_bytes:
                message = "the object has another length than before"
                raise ChangedError(message)
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        self._check(reply)
        self._is_resumed = reply.offset > 0
        if not self._is_resumed:
            origin = Origin(
                uri=self._name, validator=reply.validator, total_bytes=reply.total_bytes
            )
            self._part.begin(origin)
        size = reply.offset
        for chunk in reply.chunks:
            size += len(chunk)
            self._check_size(size)
            self._part.append(chunk)
            self._furthest = max(self._furthest, size)
        if reply.total_bytes is not None and size != reply.total_bytes:
            message = f"the connection was cut after {size} of {reply.total_bytes} bytes"
            raise TransientError(message)

    def _check(self, reply: Reply) -> None:
        self._check_size(reply.total_bytes or 0)
        if self._order.sha256:
            return
        if reply.total_bytes is None:
            message = "the server does not say how long the object is; pin its sha256"
            raise RefusedError(message)
        if reply.has_left_tls:
            message = "the server leads away from TLS; pin the object's sha256"
            raise RefusedError(message)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._order.max_bytes:
            self._part.discard()
            message = f"{self._name} is larger than {self._order.max_bytes} bytes"
            raise ModelLoadFailedError(message)

    def _is_whole(self) -> bool:
        origin = self._known_origin()
        return origin is not None and self._part.size_bytes == origin.total_bytes

    def _known_origin(self) -> Origin | None:
        origin = self._part.read_origin()
        return origin if origin and origin.uri == self._name else None

    def _locate(self) -> Location:
        return find_location(self._order.uri, self._order.environment, datetime.now(UTC))

    def _pause(self, fruitless: int, error: TransientError | ChangedError) -> None:
        seconds = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (fruitless - 1))
        # Replicas that start together do not come back together.
        seconds *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        asked = error.retry_after_seconds if isinstance(error, TransientError) else 0.0
        seconds = max(seconds, min(asked, _LONGEST_WAIT_SECONDS))
        _log.warning(
            "fetch_interrupted",
            uri=self._name,
            error=str(error),
            size=self._part.size_bytes,
            wait_seconds=round(seconds, 1),
        )
        self._wait(seconds)
