"""The table, for people: on the terminal, and in ``docs/benchmarks/operator.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.machine import build_heading

Row = tuple[str, str, str, str]

_MOST_RATIO: Final = 1.3
_MOST_RESTART_SECONDS: Final = 15.0
_MOST_MIB: Final = 400.0
_MOST_READY_SECONDS: Final = 14.6

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
  requests for children with the same concurrency, and nothing else; the operator also watches,
  judges and reports.
- (b) An edit of two objectives; nothing restarts. From sending it to the answer to the last
  child's write, while the rest of the fleet is idle.
- (d) From the start of the process until every gateway was looked at; Python's own start is in it.
  The bare client reads the same LISTs, as many at a time, just before, and keeps nothing.
- (f) `minReadySeconds: 10` is part of the time to Ready of every Deployment of ours, by design; the
  naive operator makes the same Deployments. The bare client makes the children and nothing else;
  its time is when the Deployment controller last reported on one. The report's lag is from the
  Deployment controller's last word on a gateway's Deployment to Ready. KServe's controller 0.16,
  measured the same way with four children and one pod: 45.7 s, 12.5 writes a gateway, 200 after a
  restart.
- (g) The naive operator, `tests/bench/operator/naive.py`: kopf's create, update and resume
  handlers, and a timer of 30 s.
"""


# What stays true when the numbers are renewed; the numbers are filled in.
_READING: Final = """
## Reading

- (a) {creation}: {ratio:.2f} times the bare client. For a gateway of sixteen children the operator
  also makes sure that it acts on the latest spec, and reports once: a tenth more requests. The
  rest is its watches, which tell it of every object that it makes, and its judgement, on the
  processors that the API server needs.
- (b) Has no goal. The median is the operator's own time; what is far above it has waited for
  something that holds the event loop, or for the one processor more that the API server wants.
- (c) {silence}: nothing is written while nothing changes, whatever its size.
- (d) {restart}: {seconds:.1f} s, where a bare client takes {listing:.1f} s only to read the same
  {objects:,.0f} objects. The operator spends {each:.1f} ms of processor time on a gateway: its
  part of the LISTs, kopf's own LIST of the gateways, and a pass that builds every child, compares
  it field by field and judges. None of it can be left out, or a change that was made while the
  operator was down would go unseen; and no gateway is judged before all LISTs are there. More
  processors shorten the API server's part, faster ones both.
- (e) {memory}: objects are kept packed, so it grows with them, slowly.
- (f) {ready}: {ready_seconds:.1f} s, where the bare client's pods are available after
  {bare_ready_seconds:.1f} s. That is what the scheduler, the controllers and the API server take on
  this machine with nobody to wait for, 10 s of minReadySeconds in it; the rest is the operator
  sharing the processors with them, to judge and to report.
"""


def build_page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    machine = "\n".join(f"- {line}" for line in build_heading(results))
    heading = _HEADING.format(machine=machine)
    table, writes = build_table(results), _build_writes(results)
    return heading + table + build_reading(results) + writes + _NOTES


def build_reading(results: Mapping[str, Any]) -> str:
    """Which goals are met, and what stands in the way of the others."""
    fleet, found = results["fleet"], results["readiness"]
    restart, memory = fleet["restart"], fleet["memory"]
    most_mib = max(memory["idle_mib"], memory["restart_peak_mib"])
    writes = fleet["idle"]["writes"] + restart["writes"] + found["ours"]["writes_after_restart"]
    ratio, ready_seconds = results["creation"]["ratio"], found["ours"]["seconds"]
    return _READING.format(
        creation=_judge(ratio <= _MOST_RATIO),
        ratio=ratio,
        silence=_judge(writes == 0),
        restart=_judge(restart["seconds"] <= _MOST_RESTART_SECONDS),
        seconds=restart["seconds"],
        listing=restart["bare_listing_seconds"],
        objects=fleet["made"]["objects"],
        each=1000 * restart["cpu_seconds"] / fleet["made"]["gateways"],
        memory=_judge(most_mib <= _MOST_MIB),
        ready=_judge(ready_seconds <= _MOST_READY_SECONDS),
        ready_seconds=ready_seconds,
        bare_ready_seconds=found["bare"]["seconds"],
    )


def _judge(is_met: bool) -> str:
    return "Met" if is_met else "Missed"


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
            f"≤ {_MOST_RATIO} times that",
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
    listing = f"a bare client takes {restart['bare_listing_seconds']:.1f} s to list them"
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
            f"(d) Restart to converged, {large}, {made['objects']:,.0f} objects; {listing}",
            f"≤ {_MOST_RESTART_SECONDS:.0f} s",
            f"{restart['seconds']:.1f} s ({restart['cpu_seconds']:.1f} s of processor)",
        ),
        ("(d) Writes after it", "0", str(restart["writes"])),
        (
            f"(e) Memory, {large} (none: {memory['empty_mib']:.0f} MiB)",
            f"≤ {_MOST_MIB:.0f} MiB",
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
    floor = f"a bare client's pods are available after {found['bare']['seconds']:.1f} s"
    return [
        (
            f"(f) First gateway to all Ready, {found['gateways']} gateways; {floor}",
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
