"""What was tried in vain, and what has to be put right again and again: when to try next.

Everything that happens to a gateway or its children is a reason to look at all of them. That
must not repeat a write that the API server has just refused: each child waits by itself, its
siblings go on. A hold ends early where something else is to be written, or the live object is
another one.

Two that overwrite each other's fields would do it for ever, at the speed of their watches. So
a field that drifts again and again is put right ever more seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from igw_operator.errors import ApiError, ContestedError

_FIRST_SECONDS: Final = 0.5
_FIRST_FINAL_SECONDS: Final = 10.0
_FIRST_TRUCE_SECONDS: Final = 10.0
_LONGEST_SECONDS: Final = 300.0
# Somebody's object stands in the way, and we do not see when it goes: look soon, again and again.
_WATCHFUL_SECONDS: Final = 15.0
# Holds that began in one pass end together, though they began one after the other.
_TOGETHER: Final = 0.1
# A person who tries something out gets this much patience.
_FREE_REPAIRS: Final = 5
_MEMORY_SECONDS: Final = 900.0
_MOST_KEPT: Final = 20_000


@dataclass(frozen=True, slots=True)
class ChildKey:
    """One child of a gateway."""

    kind: str
    namespace: str
    name: str


def key_of_child(manifest: Mapping[str, Any]) -> ChildKey:
    """What names the child among all."""
    metadata = manifest["metadata"]
    return ChildKey(manifest["kind"], metadata["namespace"], metadata["name"])


@dataclass(frozen=True, slots=True)
class _Refusal:
    what: Hashable
    error: ApiError
    count: int
    until: float
    margin: float


@dataclass(frozen=True, slots=True)
class _Repairs:
    count: int
    last: float
    until: float


class Attempts:
    """A short memory of refusals and repairs; it may be lost, and is, with the process."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusals: dict[ChildKey, _Refusal] = {}
        self._repairs: dict[tuple[ChildKey, str], _Repairs] = {}

    def find_refusal(self, child: ChildKey, what: Hashable) -> ApiError | None:
        """The refusal of this very write, while it need not be repeated."""
        refusal = self._refusals.get(child)
        if refusal is None or refusal.what != what or refusal.error.is_somebodys:
            return None
        left = refusal.until - self._clock()
        return refusal.error.held_for(left) if left > refusal.margin else None

    def refuse(self, child: ChildKey, what: Hashable, error: ApiError) -> ApiError:
        """Remember a failed write; return its error with the seconds that it is held for."""
        before = self._refusals.pop(child, None)
        count = 1 if before is None or before.what != what else before.count + 1
        pause = _choose_pause(error, count)
        until = self._clock() + pause
        self._refusals[child] = _Refusal(what, error, count, until, pause * _TOGETHER)
        while len(self._refusals) > _MOST_KEPT:
            del self._refusals[next(iter(self._refusals))]
        return error.held_for(pause)

    def succeed(self, child: ChildKey) -> None:
        """Forget the child's refusals: it was written, or need not be."""
        self._refusals.pop(child, None)

    def count_refusals(self, child: ChildKey) -> int:
        """How often in a row the child was refused."""
        refusal = self._refusals.get(child)
        return refusal.count if refusal else 0

    def find_truce(self, child: ChildKey, paths: Iterable[str]) -> float:
        """Seconds until drift of these fields may be put right again; 0: now."""
        known = (self._repairs.get((child, path)) for path in paths)
        now = self._clock()
        return max((it.until - now for it in known if it is not None and it.until > now), default=0)

    def repair(self, child: ChildKey, paths: Iterable[str]) -> None:
        """Remember that drift of these fields was put right."""
        for path in paths:
            self._count_repair((child, path))

    def held(self) -> int:
        """How many children wait to be written again, after a refusal or in a truce."""
        now = self._clock()
        return sum(1 for it in list(self._refusals.values()) if it.until > now)

    def contested(self) -> int:
        """How many children somebody else sets, too, again and again."""
        now = self._clock()
        return len({child for (child, _), it in list(self._repairs.items()) if it.until > now})

    def _count_repair(self, key: tuple[ChildKey, str]) -> None:
        now = self._clock()
        before = self._repairs.pop(key, None)
        if before is None or now - max(before.last, before.until) > _MEMORY_SECONDS:
            before = _Repairs(count=0, last=now, until=now)
        count = before.count + 1
        pause = 0.0
        if count >= _FREE_REPAIRS:
            pause = _grow(_FIRST_TRUCE_SECONDS, count - _FREE_REPAIRS + 1)
        self._repairs[key] = _Repairs(count=count, last=now, until=now + pause)
        while len(self._repairs) > _MOST_KEPT:
            del self._repairs[next(iter(self._repairs))]


def _choose_pause(error: ApiError, count: int) -> float:
    asked = error.retry_after_seconds or 0.0
    if isinstance(error, ContestedError):
        return asked
    if error.is_somebodys:
        return _WATCHFUL_SECONDS
    return max(asked, _grow(_FIRST_FINAL_SECONDS if error.is_final else _FIRST_SECONDS, count))


def _grow(first: float, count: int) -> float:
    # The exponent is bounded: 2.0 ** 1100 overflows.
    return min(first * 2.0 ** min(count - 1, 32), _LONGEST_SECONDS)
