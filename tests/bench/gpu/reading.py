"""The reading of the tables, from their numbers: what is reached, what limits, what would help.

Sentences that would not be true of other numbers are chosen by the numbers. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench.gpu.goals import SERVED, check_goals, find_limit, read_rate
from bench.gpu.ways import PICTURE, TENSORS
from igw_runtime.models.golden import TOLERANCE
from igw_runtime.serving.sweep import GAIN_RATIO
from igw_runtime.settings import MAX_BATCH

Numbers = Mapping[str, Any]
_NOTABLE: Final = 0.05


def read_results(results: Numbers) -> list[str]:
    """Return what there is to say, the most important first."""
    return [
        *_read_goals(results),
        *_read_engine(results),
        *_read_tensors(results),
        *_read_pictures(results),
        *_read_requests(results),
        *_read_copies(results),
        *_read_differences(results),
        *_read_gaps(results),
    ]


def _read_goals(results: Numbers) -> Iterator[str]:
    goals = check_goals(results)
    missed = [it.what for it in goals if not it.met]
    if goals:
        yield f"{len(goals) - len(missed)} of {len(goals)} goals are met."
    if missed:
        yield f"Not met: {'; '.join(missed)}."


def _read_engine(results: Numbers) -> Iterator[str]:
    rates = {name: read_rate(it) for name, it in results["raw"].items() if "threads" in it}
    if not rates:
        return
    best = max(rates, key=lambda it: rates[it])
    batch = results["raw"][best]["batch"]
    yield (
        f"The engine alone is fastest in {best}: {rates[best]:.0f} images a second, in batches of "
        f"{batch}."
    )
    for name, rate in rates.items():
        if name != best:
            yield f"{name}: {rate / rates[best]:.2f} of that."
    for name, it in results["raw"].items():
        if "threads" in it and it["rates"]:
            one = min(it["rates"], key=int)
            factor = max(it["rates"].values()) / it["rates"][one]
            yield f"{name}: the best batch gives {factor:.1f} times what batches of {one} give."
            within = max(rate for size, rate in it["rates"].items() if int(size) <= MAX_BATCH)
            beyond = max(it["rates"].values()) / within
            if beyond > GAIN_RATIO:
                yield (
                    f"{name}: larger batches than the runtime takes ({MAX_BATCH}) would give "
                    f"{beyond:.2f} times as much."
                )


def _read_tensors(results: Numbers) -> Iterator[str]:
    for name, served in results["served"].items():
        if TENSORS in served["ways"]:
            yield _say_served(results, name, TENSORS, "Tensors")


def _read_pictures(results: Numbers) -> Iterator[str]:
    """What decoding costs, in cores for each GPU: the engine takes pictures that fast."""
    for name, served in results["served"].items():
        if PICTURE not in served["ways"]:
            continue
        yield _say_served(results, name, PICTURE, "Pictures")
        way, it, cores = served["ways"][PICTURE], results["raw"][name], results["plan"]["cores"]
        raw, decode = read_rate(it), it["decode_seconds"] + it["preprocess_seconds"]
        yield (
            f"Decoding and preprocessing take {decode * 1e3:.1f} ms of a core a picture, so that "
            f"the {cores} cores here prepare {cores / decode:.0f} a second at most. To feed a GPU "
            f"that computes {raw:.0f}, that alone takes {_say_cores(raw * decode)}; with HTTP, "
            f"queue and all else a picture costs {way['cpu_seconds_each'] * 1e3:.1f} ms, which is "
            f"{_say_cores(raw * way['cpu_seconds_each'])} for the GPU ({name})."
        )


def _say_served(results: Numbers, name: str, kind: str, title: str) -> str:
    served = results["served"][name]
    way = served["ways"][kind]
    ratio = way["rate"] / read_rate(results["raw"][name])
    said = f"{title}, {name}: {ratio:.2f} of the engine alone is served."
    if ratio >= SERVED:
        return said
    limit = find_limit(way, served["batch"], results["plan"]["cores"])
    return f"{said} Why not more: {limit}."


def _say_cores(cores: float) -> str:
    count = math.ceil(cores)
    return "1 core" if count == 1 else f"{count} cores"


def _read_requests(results: Numbers) -> Iterator[str]:
    """What a request costs apart from its images."""
    for name, served in results["served"].items():
        one, many = served["ways"].get("tensor"), served["ways"].get(TENSORS)
        if one and many and many["rate"]:
            each = (one["cpu_seconds_each"] - many["cpu_seconds_each"]) * 1e3
            yield (
                f"{name}: with one tensor a request {one['rate'] / many['rate']:.2f} of what "
                f"{many['images']} a request give is served; an image alone costs {each:+.1f} ms "
                "of processor time more."
            )


def _read_copies(results: Numbers) -> Iterator[str]:
    for name, it in results["raw"].items():
        if not it.get("copies"):
            continue
        computing = it["batch"] / it["resident"]
        kept = read_rate(it) / it["resident"]
        copies = {kind: seconds / computing for kind, seconds in it["copies"].items()}
        listed = ", ".join(f"{kind} {share:.0%}" for kind, share in copies.items())
        yield (
            f"{name}: with images in the CPU's memory the engine does {kept:.2f} of what it does "
            f"with images on the device. A batch's way there, of its computing time: {listed}."
        )
        if copies.get("pinned", 0) > _NOTABLE:
            yield (
                f"{name}: streams lay that copy beside the computing of other batches; as bytes, "
                "normalised on the device, it would be a quarter as long."
            )


def _read_differences(results: Numbers) -> Iterator[str]:
    measured = {n: it for n, it in results["raw"].items() if "difference" in it}
    wrong = [
        name
        for name, it in measured.items()
        if it["difference"] > TOLERANCE[it["precision"]] or math.isnan(it["difference"])
    ]
    if wrong:
        yield (
            f"**Scores differ when several threads compute at once** ({', '.join(wrong)}): that is "
            "a fault, and no speed counts until it is found."
        )
    elif measured:
        most = max(it["difference"] for it in measured.values())
        yield (
            "Several threads at once get the scores that one gets alone, but for "
            f"{most:.1e} of the largest."
        )


def _read_gaps(results: Numbers) -> Iterator[str]:
    for name, it in {**results["raw"], **results["served"]}.items():
        if "error" in it:
            yield f"{name} did not run: {it['error'].splitlines()[-1]}"
    if not results["complete"]:
        yield "The run was ended before all was measured."
