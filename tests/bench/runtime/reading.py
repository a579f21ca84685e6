"""The reading of the tables, from their numbers: where we are not ahead, why, and what would help.

Sentences that would not be true of other numbers are chosen by the numbers. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench.runtime.goals import OURS, check_goals, find_peers
from bench.runtime.tables import say_seconds

Numbers = Mapping[str, Any]


def read_results(results: Numbers) -> list[str]:
    """Return what there is to say, the most important first."""
    return [
        *_read_goals(results),
        *_read_same_engine(results),
        *_read_documented(results),
        *_read_engine(results),
        *_read_overload(results),
        *_read_end(results),
        *_read_overhead(results),
    ]


def _read_goals(results: Numbers) -> Iterator[str]:
    goals = check_goals(results)
    missed = [it.what for it in goals if not it.met]
    yield f"{len(goals) - len(missed)} of {len(goals)} goals are met."
    if missed:
        yield f"Not met: {'; '.join(missed)}."


def _read_same_engine(results: Numbers) -> Iterator[str]:
    ours, peers = results["contestants"].get(OURS, {}), find_peers(results, documented=False)
    if "capacity" not in ours or not peers:
        return
    best = max(peers, key=lambda it: peers[it]["capacity"])
    ratio = ours["capacity"] / peers[best]["capacity"]
    title = results["titles"][best]
    ceiling = results["ideal"].get("capacity", math.nan) / peers[best]["capacity"]
    if ratio >= 1.3:
        yield f"Around one engine our capacity is {ratio:.2f} times the best peer's ({title})."
    else:
        yield (
            f"Around one engine our capacity is {ratio:.2f} times the best peer's ({title}), not "
            "1.3 times: whoever keeps all cores in engine and decoder is near their limit, and a "
            f"server that costs nothing would have {ceiling:.2f} times that peer's. The cheaper "
            "the model, the more a server's own time shows: int8, or a smaller network."
        )
    for share, load in ours["loads"].items():
        yield from _read_latency(results, share, load, peers)
    lighter = [it for it in peers if peers[it]["memory_mib"] < ours["memory_mib"]]
    if lighter:
        names = ", ".join(results["titles"][it] for it in lighter)
        yield f"{names} took less memory than we did."
    sooner = [it for it in peers if peers[it]["ready_seconds"] < ours["ready_seconds"]]
    if sooner:
        names = ", ".join(results["titles"][it] for it in sooner)
        yield f"{names} answered sooner after its start; ours checks a golden answer first."


def _read_latency(
    results: Numbers, share: str, load: Numbers, peers: Mapping[str, Numbers]
) -> Iterator[str]:
    ahead = [it for it in peers if peers[it]["loads"][share]["p99"] < load["p99"]]
    if ahead:
        names = ", ".join(results["titles"][it] for it in ahead)
        yield f"At {float(share):.0%} of our capacity {names} had a lower p99 than we had."
    lowest = min(it["loads"][share]["p99"] for it in peers.values())
    ideal = results["ideal"].get("loads", {}).get(share)
    if ideal and ideal["p99"] > lowest / 2:
        yield (
            f"Half of the lowest p99 of a peer at {float(share):.0%} would be "
            f"{say_seconds(lowest / 2)}. A server that costs nothing has "
            f"{say_seconds(ideal['p99'])}: the wait for a core is in it whatever is around the "
            "engine."
        )


def _read_documented(results: Numbers) -> Iterator[str]:
    ours, peers = results["contestants"].get(OURS, {}), find_peers(results, documented=True)
    if "capacity" not in ours or not peers:
        return
    best = max(peers, key=lambda it: peers[it]["capacity"])
    ratio = ours["capacity"] / peers[best]["capacity"]
    yield (
        f"As documented, the best peer ({results['titles'][best]}) answers "
        f"{peers[best]['capacity']:.1f} pictures a second, {1 / ratio:.2f} of what we do: most of "
        "that is torch eager in fp32 against a compiled network in "
        f"{results['precision']}, which is a choice of engine that those servers allow, too (first "
        "table)."
    )
    if "int8" in results["served"]:
        ratio = results["served"]["int8"] / peers[best]["capacity"]
        yield (
            f"With an int8 package we answer {ratio:.2f} times what the best peer does as "
            "documented; the goal of 4 is for what our own documentation begins with, bf16."
        )


def _read_engine(results: Numbers) -> Iterator[str]:
    for precision, raw in results["raw"].items():
        served = results["served"][precision]
        yield (
            f"{precision}: decoding and preprocessing take {1 - raw['whole'] / raw['infer']:.0%} "
            "of what the engine could do with both cores; HTTP, queue, threads and observability "
            f"take {1 - served / raw['whole']:.0%} of the rest."
        )
    for raw in [*results["raw"].values()][:1]:
        decode, preprocess = raw["decode_seconds"] * 1e3, raw["preprocess_seconds"] * 1e3
        yield (
            f"Of a picture's processor time {decode:.1f} ms are libjpeg's and {preprocess:.1f} ms "
            "are resizing and normalising, nearly all of it Pillow's resize, which uses no vector "
            "instructions. One that does would be the largest single gain left; it has to be bit "
            "for bit the same, or belongs behind a setting."
        )
    if results["raw"] and "int8" not in results["raw"]:
        yield "int8 was not measured: there was no quantised package on this machine."


def _read_overload(results: Numbers) -> Iterator[str]:
    peers = {**find_peers(results, documented=False)}
    lost = [it for it in peers if peers[it]["overload"]["goodput_ratio"] < 0.5]
    if lost:
        names = ", ".join(results["titles"][it] for it in lost)
        yield (
            f"At twice their capacity {names} served less than half of what they can within the "
            "second that clients wait: work is queued without regard to who still waits for it."
        )
    more = [it for it in peers if peers[it]["overload"]["goodput_ratio"] > 1.2]
    if more:
        names = ", ".join(results["titles"][it] for it in more)
        yield (
            f"{names} answered more when overloaded than its capacity says: with eight clients "
            "that wait, its workers wait, too, for batches to fill."
        )


def _read_end(results: Numbers) -> Iterator[str]:
    ours = results["contestants"].get(OURS, {})
    if "end" in ours and ours["end"]["failed"]:
        yield (
            f"On SIGTERM {ours['end']['failed']} of our requests failed, which must not be: "
            f"{ours['end']['faults']}."
        )
    peers = find_peers(results, documented=False)
    clean = [it for it in peers if not peers[it]["end"]["failed"]]
    if clean:
        names = ", ".join(results["titles"][it] for it in clean)
        yield f"{names} lost nothing on SIGTERM either."


def _read_overhead(results: Numbers) -> Iterator[str]:
    found = results.get("overhead")
    if not found:
        return
    small, whole = found["small"], found["real"]["nothing"]["cpu_seconds_each"]
    pillars = {it: small[it]["more_seconds_each"] for it in ("metrics", "logs", "traces, 100 %")}
    most = max(pillars, key=lambda it: pillars[it])
    yield (
        f"Of observability, {most} cost most: {pillars[most] * 1e6:.0f} µs a request, "
        f"{pillars[most] / whole:.2%} of a picture's processor time."
    )
    bounds = found["real"].values()
    spread = max(it["ratio_high"] - it["ratio_low"] for it in bounds)
    yield (
        f"Side by side, turns of one server differ by {spread:.1%} (middle half): differences "
        "below that are noise, and the second column says more."
    )
