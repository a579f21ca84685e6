"""The table, for people: on the terminal, and in ``docs/benchmarks/operator.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.machine import build_heading

Row = tuple[str, str, str, str]

_HEADING: Final = """\
# Benchmark of the operator

Written by `make bench-operator`; do not edit. The numbers are in
[operator.json](operator.json). A real kube-apiserver and etcd, kube-controller-manager and
kube-scheduler, pods of kwok, and the operator as a process with its shipped ClusterRole, all on
this one machine:

{machine}

The operator shares its processors with the API server that it works for, so absolute times say
more about the machine than about the operator: compare within one run.

"""
_NOTES: Final = """
- (a) All children of each gateway, with server-side apply. The bare client makes the same
  requests for children with the same concurrency, and nothing else; the operator also looks each
  child up before it creates it, watches, judges and reports.
- (b) An edit of two objectives; nothing restarts. From sending it to the answer to the last
  child's write, while the rest of the fleet is idle.
- (d) From the start of the process until every gateway was looked at; Python's own start is in it.
- (f) `minReadySeconds: 10` is part of the time to Ready of every Deployment of ours, by design; the
  naive operator makes the same Deployments. The report's lag is from the Deployment
  controller's last word on a gateway's Deployment to Ready. KServe's controller 0.16, measured the
  same way with four children and one pod: 45.7 s, 12.5 writes a gateway, 200 after a restart.
- (g) The naive operator, `tests/bench/operator/naive.py`: kopf's create, update and resume
  handlers, and a timer of 30 s.
"""


def build_page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    machine = "\n".join(f"- {line}" for line in build_heading(results))
    heading = _HEADING.format(machine=machine)
    return heading + build_table(results) + _build_writes(results) + _NOTES


def build_table(results: Mapping[str, Any]) -> str:
    """Every goal, and what was measured."""
    rows = [("", "Goal", "Ours", "Naive kopf operator"), ("---",) * 4, *_rows(results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(results: Mapping[str, Any]) -> list[Row]:
    return [
        *_creation_rows(results["creation"]),
        *_fleet_rows(results["fleet"]),
        *_readiness_rows(results["readiness"]),
    ]


def _creation_rows(found: Mapping[str, Any]) -> list[Row]:
    ours, naive, bare = found["ours"], found["naive"], found["bare"]["seconds"]
    what = f"(a) {found['children']:,} children of {found['gateways']} gateways"
    minutes = found["idle_seconds"] / 60
    return [
        (
            f"{what}; a bare client takes {bare:.1f} s",
            "≤ 1.3 times that",
            f"{ours['seconds']:.1f} s: {found['ratio']:.2f} times",
            f"{naive['seconds']:.1f} s: {found['naive_ratio']:.2f} times",
        ),
        (
            f"(c) Writes in {minutes:.1f} idle minutes, {found['gateways']} gateways",
            "0",
            str(ours["idle_writes"]),
            str(naive["idle_writes"]),
        ),
    ]


def _fleet_rows(fleet: Mapping[str, Any]) -> list[Row]:
    made, edits, idle = fleet["made"], fleet["edits"], fleet["idle"]
    restart, memory = fleet["restart"], fleet["memory"]
    large = f"{made['gateways']:,} gateways"
    peak = f"{memory['restart_peak_mib']:.0f} MiB at most in a restart"
    late = f"event loop at most {_ms(idle['longest_lag_seconds'])} late"
    ours = [
        (
            f"(b) Edit to last child applied, {edits['edits']} edits among {large}",
            "",
            f"p50 {_ms(edits['seconds']['p50'])}, p99 {_ms(edits['seconds']['p99'])}",
        ),
        (
            f"(c) Writes in {idle['seconds'] / 60:.1f} idle minutes, {large}",
            "0",
            str(idle["writes"]),
        ),
        (
            f"(d) Restart to converged, {large}, {made['objects']:,.0f} objects",
            "≤ 15 s",
            f"{restart['seconds']:.1f} s ({restart['cpu_seconds']:.1f} s of processor)",
        ),
        ("(d) Writes after it", "0", str(restart["writes"])),
        (
            f"(e) Memory, {large} (none: {memory['empty_mib']:.0f} MiB)",
            "≤ 400 MiB",
            f"{memory['idle_mib']:.0f} MiB, {peak}",
        ),
        (
            f"(e) Processor while idle, {large}",
            "",
            f"{idle['cpu_percent']:.1f} % of a core; {late}",
        ),
    ]
    return [(*row, "") for row in ours]


def _readiness_rows(found: Mapping[str, Any]) -> list[Row]:
    ours, naive = found["ours"], found["naive"]
    lag = ours["report_lag_seconds"]
    lags = f"report's lag p50 {_ms(lag['p50'])}, p99 {_ms(lag['p99'])}"
    return [
        (
            f"(f) First gateway to all Ready, {found['gateways']} gateways",
            "≤ 4.6 s, and 10 s of minReadySeconds",
            f"{ours['seconds']:.1f} s, {ours['ready']} of {found['gateways']} Ready; {lags}",
            f"{naive['seconds']:.1f} s, {naive['ready']} of {found['gateways']} Ready",
        ),
        (
            "(f) Writes a gateway",
            "one a child, a few reports",
            f"{ours['writes_per_gateway']:.1f}",
            f"{naive['writes_per_gateway']:.1f}",
        ),
        (
            "(f) Writes after a restart",
            "0",
            str(ours["writes_after_restart"]),
            str(naive["writes_after_restart"]),
        ),
    ]


def _build_writes(results: Mapping[str, Any]) -> str:
    """(f) in detail: who writes what, for each gateway."""
    ours, naive = (results["readiness"][name]["writes_each"] for name in ("ours", "naive"))
    rows = [
        f"| {key} | {_count(ours.get(key))} | {_count(naive.get(key))} |\n"
        for key in sorted({*ours, *naive})
    ]
    heading = "\nWrites a gateway until all are Ready:\n\n| | Ours | Naive |\n|---|---|---|\n"
    return heading + "".join(rows)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
