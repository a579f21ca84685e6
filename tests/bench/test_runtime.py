import math
from typing import Any

import pytest

from bench.runtime import pictures
from bench.runtime.environments import find_versions
from bench.runtime.goals import check_goals
from bench.runtime.ideal import simulate
from bench.runtime.page import build_page, build_tables
from bench.runtime.summary import summarise


def a_visit(capacity: float = 40, *, latencies: tuple[float, ...] = (0.05,) * 99) -> dict[str, Any]:
    """Return what one visit to a server found."""
    load = {
        "rate": 20,
        "latencies": list(latencies),
        "faults": {},
        "cpu_seconds": 4.0,
        "answered": sum(1 for it in latencies if math.isfinite(it)),
        "generator": {"lag_seconds": 0.001, "cpu_share": 0.01},
    }
    return {
        "ready_seconds": 0.5,
        "capacity": capacity,
        "memory_mib": 200.0,
        "processes": 1,
        "unloaded": [0.02, 0.03, 0.04],
        "loads": {"0.5": load, "0.8": load},
        "overload": {"goodput": capacity, "answered_p99": 0.9, "faults": {"503": 5}},
        "end": {"sent": 30, "failed": 0, "faults": {}, "exit_seconds": 2.5},
    }


def some_results(**contestants: dict[str, Any]) -> dict[str, Any]:
    """Return a whole run's results, of our server and others."""
    found = {"ours": summarise([a_visit(60)])} | contestants
    names = [*found]
    return {
        "date": "today",
        "machine": {
            "processor": "a processor",
            "cores": 2,
            "memory_gib": 8,
            "kernel": "6",
            "python": "3",
            "versions": {"openvino": "1"},
            "commit": "abc",
        },
        "plan": {"rounds": 3, "documented_rounds": 1},
        "load_before": 0.1,
        "load_after": 2.0,
        "precision": "bf16",
        "sizes": ["500x375"],
        "clients": 8,
        "patience_seconds": 5.0,
        "contestants": found,
        "titles": {it: it.title() for it in names},
        "sends": dict.fromkeys(names, "a JPEG"),
        "raw": {
            "bf16": {
                "infer": 64.0,
                "whole": 62.0,
                "decode_seconds": 0.001,
                "preprocess_seconds": 0.001,
            }
        },
        "ideal": {
            "capacity": 62.0,
            "loads": {"0.5": {"p50": 0.032, "p99": 0.07}, "0.8": {"p50": 0.04, "p99": 0.15}},
        },
        "served": {"bf16": 60.0},
    }


def test_latencies_are_pooled_and_the_rest_is_a_median() -> None:
    """One slow round of three is a third of the requests, but not the capacity."""
    slow = a_visit(10, latencies=(1.0,) * 99)
    found = summarise([a_visit(40), slow, a_visit(42)])
    assert found["capacity"] == 40
    assert found["loads"]["0.5"]["requests"] == 297
    assert (found["loads"]["0.5"]["p50"], found["loads"]["0.5"]["p99"]) == (0.05, 1.0)
    assert found["loads"]["0.5"]["cpu_seconds_each"] == pytest.approx(12 / 297)
    assert found["end"]["sent"] == 90
    assert found["overload"]["faults"] == {"503": 15}


def test_who_does_not_answer_has_no_flattering_percentile() -> None:
    """Requests that failed count as ones that never ended."""
    found = summarise([a_visit(latencies=(0.05,) * 90 + (math.inf,) * 10)])
    assert found["loads"]["0.8"]["p99"] == math.inf
    assert found["loads"]["0.8"]["failed"] == 10
    assert "never; 10% failed" in build_tables(some_results(litserve=found))


def test_a_server_that_did_not_run_is_in_the_table_with_its_words() -> None:
    """It is not left out, and it takes nobody's place in a goal."""
    results = some_results(mlserver=summarise([{"error": "ImportError: no such module"}]))
    page = build_page(results)
    assert "| Mlserver | did not run |" in page
    assert "ImportError: no such module" in page
    assert not [it for it in check_goals(results) if "peer" in it.what]


def test_goals_are_judged_from_both_sides() -> None:
    """At least so much capacity, at most so much latency, of the best of the others."""
    peers = {
        "kserve": summarise([a_visit(40, latencies=(0.2,) * 99)]),
        "litserve": summarise([a_visit(30, latencies=(0.08,) * 99)]),
        "litserve-documented": summarise([a_visit(16)]),
    }
    goals = {it.what: it for it in check_goals(some_results(**peers))}
    capacity = goals["Capacity ÷ best peer's, same engine"]
    assert (capacity.value, capacity.met) == (1.5, True)
    latency = goals["p99 ÷ lowest of a peer, same engine, 80% of our capacity"]
    assert latency.value == pytest.approx(0.625)
    assert not latency.met
    assert not goals["Capacity ÷ best peer's, as documented"].met
    assert goals["Served ÷ engine alone, bf16"].met
    assert goals["Failed requests on SIGTERM"].met


def test_the_page_says_where_we_are_not_ahead() -> None:
    """From the numbers: a goal that is missed, a peer that was better at something."""
    better = summarise([a_visit(59, latencies=(0.01,) * 99)])
    page = build_page(some_results(kserve=better))
    assert "**not met**" in page
    assert "not 1.3 times" in page
    assert "At 80% of our capacity Kserve had a lower p99 than we had." in page
    assert "int8 was not measured" in page
    assert "A server that costs nothing has 150 ms" in page


def test_simulated_waits_are_those_of_queueing_theory() -> None:
    """One core at half load waits as Erlang's formula for M/D/1 says; two wait less."""
    idle = simulate(0.001, seconds_each=0.02, cores=2)
    assert idle == pytest.approx({"p50": 0.02, "p99": 0.02})
    load = 0.5
    one = simulate(load, seconds_each=1.0, cores=1)
    wait = one["p99"] - 1.0
    no_longer = (1 - load) * sum(
        (-load * (wait - k)) ** k / math.factorial(k) * math.exp(load * (wait - k))
        for k in range(int(wait) + 1)
    )
    assert no_longer == pytest.approx(0.99, abs=0.001)
    assert 1.0 <= simulate(2 * load, seconds_each=1.0, cores=2)["p50"] < one["p50"]


@pytest.mark.parametrize(
    "pack",
    [
        pictures.pack_raw,
        pictures.pack_json,
        pictures.pack_v1,
        pictures.pack_v2,
        pictures.pack_v2_bytes,
        pictures.pack_v2_numbers,
        pictures.pack_form,
    ],
)
def test_requests_differ_in_their_bodies_only(pack: pictures.Pack) -> None:
    """A load has one set of headers, so no header may depend on the picture's length."""
    assert pack(b"x" * 99_999).headers == pack(b"x" * 100_000).headers
    assert pack(b"x").body != pack(b"y").body


def test_every_peer_is_pinned() -> None:
    """A table of servers without their versions says little."""
    versions = find_versions()
    assert {"litserve", "bentoml", "kserve", "mlserver", "pytriton", "torch"} == set(versions)
    assert "not pinned" not in versions.values()
