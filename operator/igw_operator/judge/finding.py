"""The value that every policy of this room returns: one reason, what it is about, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from igw_operator.judge.reasons import WAITING, Reason

SubjectT = TypeVar("SubjectT")


class Truth(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause. ``text`` names the object; ``command`` is what to type next, if anything."""

    reason: Reason
    text: str
    command: str = ""

    @property
    def message(self) -> str:
        """Text and command as one line for people."""
        return f"{self.text}. Next: {self.command}" if self.command else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one condition says."""

    truth: Truth
    finding: Finding


def say(truth: Truth, reason: Reason, text: str, command: str = "") -> Verdict:
    """A verdict in one line."""
    return Verdict(truth=truth, finding=Finding(reason=reason, text=text, command=command))


def say_blocked(finding: Finding) -> Verdict:
    """What is only on its way is not known yet; what is wrong is False."""
    truth = Truth.UNKNOWN if finding.reason in WAITING else Truth.FALSE
    return Verdict(truth=truth, finding=finding)


# A policy looks at a subject and finds something, or has nothing to say.
Policy = Callable[[SubjectT], Finding | None]


def first_finding(chain: Iterable[Policy[SubjectT]], subject: SubjectT) -> Finding | None:
    """What the first policy of the chain that finds anything finds."""
    return next((found for policy in chain if (found := policy(subject)) is not None), None)
