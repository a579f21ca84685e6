"""The table in ``docs/fault-matrix.md``: made from the reports of runs, and of nothing else."""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

_FILE: Final = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
_FAULTS: Final = {
    1: "SIGKILL before each write of a first run and of an edit; restart",
    2: "SIGKILL after the commit of each write, before its answer; restart",
    3: "The answer to each write is lost; the operator lives",
    4: "SIGTERM in the middle of a burst of gateways; restart",
    5: "Watch held while the spec goes A→B→A",
    6: "A child's DELETED event swallowed",
    7: "A child deleted in a gap of its watch, then 410",
    8: "Gateway deleted and made again under its name, in a gap",
    9: "Operator down while child, gateway or both change",
    10: "One kind's watch lags behind the others",
    11: "After a restart, reads from the past and writes to the present",
    12: "Events of watches come several times",
    13: "429 with Retry-After on every request, for two minutes",
    14: "500 and 503 on 30 % of all requests",
    15: "The API server is gone for 30 s",
    16: "409 once on every write",
    17: "403: one kind, and each verb of each rule in turn; later allowed again",
    18: "One child is refused for good: 422, ResourceQuota, ValidatingAdmissionPolicy",
    19: "The token is rotated while it runs",
    20: "Watches: ERROR 410 in a loop, ERROR 500, truncated JSON, no bookmarks, silence",
    21: "Two seconds of latency on every request; answers of one byte a second",
    22: "Drift of every leaf of every child",
    23: "HPA on and off with live replicas; the real HPA controller",
    24: "An object of somebody else has a child's name",
    25: "The namespace ends in mid-reconcile",
    26: "Optional APIs absent, added, removed",
    27: "Every field of the schema mutated and reverted; odd names and metadata",
    28: "Two operators at work; a lease lost while frozen",
    29: "Thousands of gateways",
    30: "API server restart, etcd compaction, CRD upgrade",
    31: "The API server is gone for 5 and for 15 minutes (`make matrix-long`)",
}
_ASKED_FOR: Final = "IGW_MATRIX_TABLE"  # `make matrix` sets it; a test run alone changes no file
_ROW: Final = re.compile(r"^\| (\d+) \| .*$", re.MULTILINE)
_HEADING: Final = """\
# Fault matrix

Written by `make matrix`; do not edit. Every case runs against a real kube-apiserver and etcd,
the operator as a process with the shipped ClusterRole behind a fault proxy (`tests/matrix`).

Oracles: O1 the end state is the reference's (masked); O2 quiet: no more writes in the audit
log; O3 no key is written more often than in the reference run; O4 the status is true;
O5 no traceback, and the process lives or was restarted on purpose; O6 requests under a lasting
fault are bounded; O7 nothing desired was deleted, nothing of others touched.

What it found in our own code: [fault-matrix-findings.md](fault-matrix-findings.md).

| # | Fault | Oracles | Tests | Result | Seconds | Commit |
|---|---|---|---|---|---|---|
"""


@dataclass(slots=True)
class _Row:
    oracles: set[str] = field(default_factory=set)
    outcomes: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Table:
    """Collects reports; there is one for each session, and with workers for each of them."""

    _current: ClassVar[Table]

    def __init__(self) -> None:
        self._expected: dict[int, set[str]] = defaultdict(set)
        self._done: dict[int, set[str]] = defaultdict(set)
        self._partial: set[int] = set()
        self._rows: dict[int, _Row] = {}
        Table._current = self

    @classmethod
    def current(cls) -> Table:
        """The session's; hooks of reports are given no session."""
        return cls._current

    def expect(self, number: int, nodeid: str) -> None:
        """A test that belongs to a case was collected."""
        self._expected[number].add(nodeid)

    def forget(self, number: int) -> None:
        """A test of a case was left out of this run, so the run says nothing about the case."""
        self._partial.add(number)

    def pack(self) -> dict[str, Any]:
        """What a worker collected, for the session that collects nothing itself."""
        expected = {str(number): sorted(tests) for number, tests in self._expected.items()}
        return {"expected": expected, "partial": sorted(self._partial)}

    def unpack(self, packed: dict[str, Any] | None) -> None:
        """Add what a worker collected; None: it crashed, and took its knowledge along."""
        if packed is None:
            self._partial |= set(_FAULTS)
            return
        for number, tests in packed["expected"].items():
            self._expected[int(number)] |= set(tests)
        self._partial |= set(packed["partial"])

    def take(self, report: pytest.TestReport) -> None:
        """Add one phase of one test."""
        about = dict(report.user_properties)
        number = about.get("case")
        if not isinstance(number, int):
            return
        row = self._rows.setdefault(number, _Row())
        row.oracles |= set(str(about["oracles"]).split())
        row.seconds += report.duration
        if report.when == "call" or report.outcome != "passed":
            is_expected = hasattr(report, "wasxfail") and report.outcome == "skipped"
            row.outcomes.append("xfailed" if is_expected else report.outcome)
        if report.when == "teardown":
            self._done[number].add(report.nodeid)

    def write(self) -> None:
        """Renew the rows of all cases that were run in full; leave the others."""
        # A run that is cut short may know of no test of a case, and has then shown nothing of it.
        whole = {
            it for it in self._rows if self._expected[it] and self._expected[it] <= self._done[it]
        } - self._partial
        if not whole or not os.environ.get(_ASKED_FOR):
            return
        commit = _describe_commit()
        text = _FILE.read_text() if _FILE.exists() else ""
        before = {int(it[1]): it[0] for it in _ROW.finditer(text)}
        lines = [
            self._line(number, commit) if number in whole else before.get(number)
            for number in _FAULTS
        ]
        rows = (
            line or f"| {number} | {fault} | | | not yet | | |"
            for line, (number, fault) in zip(lines, _FAULTS.items(), strict=True)
        )
        _FILE.write_text(_HEADING + "\n".join(rows) + "\n")

    def _line(self, number: int, commit: str) -> str:
        row, fault = self._rows[number], _FAULTS[number]
        good = row.outcomes.count("passed")
        others = sorted(set(row.outcomes) - {"passed"})
        counts = ", ".join(f"{row.outcomes.count(it)} {it}" for it in others)
        result = counts or "passed"
        oracles = " ".join(sorted(row.oracles))
        count = len(row.outcomes)
        cells = (number, fault, oracles, f"{good}/{count}", result, f"{row.seconds:.0f}", commit)
        return f"| {' | '.join(map(str, cells))} |"


def _describe_commit() -> str:
    """What was tested; `-dirty` where that is in no commit. Documents are not what is tested."""
    commit = _ask_git("rev-parse", "--short=7", "HEAD")
    changed = _ask_git(
        "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs"
    )
    return f"{commit}-dirty" if changed else commit


def _ask_git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", *arguments], cwd=_FILE.parent, text=True, capture_output=True, check=True
    )
    return answer.stdout.strip()
