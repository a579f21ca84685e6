"""Other programs' messages, made short and still.

A status is written when it differs, so a message must not change while nothing has: names
that are new at each attempt, addresses, times and back-off counters go. Pure text in, text
out; what a message *means* is decided in ``diagnosis``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

_LIMIT: Final = 240

# Colours and titles of a terminal, before what is left of them looks like text.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_NAMES: Final = r"(?:passw(?:or)?d|secret|token|(?:api|access)[_-]?key)"
# Credentials have no place in a log; where they got there, a status must not spread them.
_SECRETS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(?<=://)[^/\s@]+@", "…@"),
        (r"\b(bearer|basic) [\w.~+/=-]{8,}", r"\1 …"),
        (rf"({_NAMES}[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&}}]+", r"\1…"),
    )
)

# Each is replaced wherever it stands; the order matters where one holds another.
_NOISE: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # containerd and the kubelet wrap one error in many.
        (r"rpc error: code = \w+ desc = ", ""),
        (r"failed to pull and unpack image \"[^\"]*\": ", ""),
        (r"failed to resolve (reference|image) \"[^\"]*\": ", ""),
        (r"failed to do request: (?:Head|Get) \"[^\"]*\": ", ""),
        (r"(?:Back-off|Failed to) pull(?:ing)? image \"[^\"]*\":? ?", ""),
        (r"^(?:ErrImagePull|ImagePullBackOff): ", ""),
        # A ReplicaSet tries a new pod name each time.
        (r"pods \"[^\"]*\" is forbidden: ", ""),
        # What others use changes without us; `kubectl describe quota` tells it.
        (r", used: [^ ]+(?=, limited: )", ""),
        # The scheduler repeats itself about preemption.
        (r"\.? ?preemption: .*$", ""),
        # Clocks, counters, ports of one attempt, addresses in memory.
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "…"),
        (r"(\d{1,3}(?:\.\d{1,3}){3}|\]):\d+->", r"\1->"),
        (r"\b0x[0-9a-f]+\b", "0x…"),
        (r"\bback-off \d+[a-z0-9]* ", "back-off "),
        (r"\s+", " "),
    )
)


def tidy(text: str, limit: int = _LIMIT) -> str:
    """The message on one line, without what changes by itself, without a final full stop."""
    text = _ESCAPES.sub("", text)
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    text = "".join(it for it in text if not unicodedata.category(it).startswith("C"))
    text = text.strip().rstrip(".")
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def words(text: str) -> str:
    """All of a program's last words on one line, without what looks like a credential."""
    return tidy(_mask(text))


def last_line(text: str) -> str:
    """The last line that says something; of a JSON log record, its words only.

    Short, without control characters, and without what looks like a credential.
    """
    line = _find_last_line(text)
    return words(_words_of_record(line))


def _mask(text: str) -> str:
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _find_last_line(text: str) -> str:
    lines = reversed(text.splitlines())
    return next((line for line in lines if tidy(line)), "")


def _words_of_record(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    words = [str(record[key]) for key in ("event", "message", "error") if record.get(key)]
    if isinstance(record.get("exception"), str):
        # Of a traceback, what was raised.
        words.append(_find_last_line(record["exception"]))
    return ": ".join(words) or line


def counted(count: int, noun: str) -> str:
    """``1 replica``, ``3 replicas``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
