"""Other programs' messages, made short and still.

A status is written when it differs, so a message must not change while nothing has: names
that are new at each attempt, addresses, times and back-off counters go. Pure text in, text
out; what a message *means* is decided in ``diagnosis``.
"""

from __future__ import annotations

import json
import re
from typing import Final

_LIMIT: Final = 240

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
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".")
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def last_line(text: str) -> str:
    """The last line that says something; of a JSON log record, its words only."""
    lines = [line for line in text.splitlines() if line.strip()]
    return tidy(_words_of_record(lines[-1])) if lines else ""


def _words_of_record(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    words = [
        str(record[key]) for key in ("event", "message", "error", "exception") if record.get(key)
    ]
    return ": ".join(words) or line


def counted(count: int, noun: str) -> str:
    """``1 replica``, ``3 replicas``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
