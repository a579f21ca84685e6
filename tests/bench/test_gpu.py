import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gpu.goals import check_goals, find_best, find_limit, read_rate
from bench.gpu.measures import Plan, count_passes, describe_load
from bench.gpu.page import build_page
from bench.gpu.reading import read_results
from bench.gpu.ways import SEVERAL, WAYS, choose_clients, find_path, pack
from bench.load import Load, Report, Sample
from bench.runtime.contestants import ROOT
from bench.runtime.keeping import keep_results
from bench.runtime.peers.preparation import Preparation
from bench.runtime.pictures import draw_pictures, pack_v2_pictures, pack_v2_tensor
from bench.sending import join_reports, split_load
from igw_runtime.models.manifest import Preprocessing
from igw_runtime.settings import ServingSettings
from igw_runtime.web.oip.framing import parse_message
from runtime_kit import colours

PRESET = Preprocessing(resize=232, crop=224, mean=[0.5] * 3, std=[0.5] * 3)


def a_raw(rate: float = 3000, **changes: Any) -> dict[str, Any]:
    """Return what the engine alone did, as the process that measures it says it."""
    return {
        "precision": "fp16",
        "open_seconds": 3.0,
        "rates": {"1": rate / 10, "32": rate * 0.9, "64": rate * 0.91, "128": rate * 0.92},
        "batch": 32,
        "threads": {"1": rate * 0.9, "2": rate, "4": rate * 0.99},
        "resident": rate * 1.05,
        "copies": {"pageable": 0.004, "pinned": 0.001},
        "difference": 0.0001,
        "memory_mib": 900.0,
        "decode_seconds": 0.002,
        "preprocess_seconds": 0.001,
    } | changes


def a_way(rate: float = 2700, **changes: Any) -> dict[str, Any]:
    """Return what was served in one way, with room in everything."""
    load = {"requests": 100, "failed": 0, "p50": 0.02, "p99": 0.04}
    return {
        "images": 16,
        "clients": 16,
        "rate": rate,
        "failed": 0,
        "cpu_seconds_each": 0.001,
        "loop_seconds_each": 0.0001,
        "mean_batch": 30.0,
        "generator_cpu_share": 0.4,
        "generator_cores": 1.6,
        "loads": {"0.5": load, "0.8": load},
    } | changes


def some_results(
    raw: dict[str, Any] | None = None, ways: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a whole run's results."""
    return {
        "date": "today",
        "machine": {
            "processor": "a processor",
            "cores": 16,
            "memory_gib": 8,
            "kernel": "6",
            "python": "3",
            "versions": {"uvicorn": "1"},
            "commit": "abc",
        },
        "device": {
            "device": "cuda",
            "name": "a GPU",
            "memory_gib": 80,
            "multiprocessors": 132,
            "torch": "2",
            "cuda": "13",
            "cudnn": "9",
            "driver": "580",
        },
        "plan": {
            "model": "resnet50",
            "workers": 16,
            "cores": 16,
            "generators": 4,
            "max_queue": 1024,
            "max_queue_bytes": 1 << 30,
        },
        "load_before": 0.1,
        "load_after": 2.0,
        "complete": True,
        "raw": {"fp16, eager": a_raw()} if raw is None else raw,
        "served": {
            "fp16, eager": {
                "batch": 32,
                "ways": {
                    "tensors": a_way(),
                    "picture": a_way(1500, cpu_seconds_each=0.006, images=1),
                }
                if ways is None
                else ways,
            }
        },
    }


def test_what_is_compared_with_is_the_fastest_that_the_engine_was() -> None:
    """In as many threads as help: the server has several, too."""
    assert read_rate(a_raw(3000)) == 3000
    raw = {"fp16, eager": a_raw(10), "bf16, eager": a_raw(11), "fp16, torch.compile": a_raw(99)}
    assert find_best(raw, "eager") == "bf16, eager"
    assert find_best({"fp16, eager": {"error": "no"}}, "eager") == ""


def test_tensors_and_pictures_have_a_goal_each() -> None:
    """One of the two may be reached without the other."""
    goals = {it.what: it for it in check_goals(some_results())}
    tensors = goals["Served ÷ engine alone, tensors, fp16, eager"]
    pictures = goals["Served ÷ engine alone, pictures, fp16, eager"]
    assert (tensors.value, tensors.met) == (0.9, True)
    assert (pictures.value, pictures.met) == (0.5, False)


def test_the_reading_counts_the_cores_that_a_gpu_takes() -> None:
    """3 ms of decoding, 6 ms in all, for 3,000 pictures a second."""
    text = "\n".join(read_results(some_results()))
    assert "that alone takes 9 cores" in text
    assert "which is 18 cores for the GPU" in text
    assert "the 16 cores here prepare 5333 a second at most" in text
    assert "larger batches than the runtime takes (64)" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator_cpu_share": 0.95}, "the load generator was at its own limit"),
        ({"loop_seconds_each": 0.0006}, "the event loop of the one process was busy 90%"),
        ({"cpu_seconds_each": 0.009}, "all cores were at work"),
        ({"mean_batch": 4.0}, "a forward pass had 4.0 images, where 32 are best"),
        ({}, "or the interpreter's lock"),
    ],
)
def test_what_limits_is_told_by_what_is_used_up(changes: dict[str, Any], words: str) -> None:
    """A number below the goal is of use only with its cause."""
    assert words in find_limit(a_way(1500, **changes), 32, 16)


def test_the_page_says_what_it_was_measured_on_and_what_failed() -> None:
    """A configuration that did not run is not left out."""
    broken = {"error": "igw_runtime ended with 1\nno compiler"}
    raw = {"fp16, eager": a_raw(), "fp16, torch.compile": broken}
    page = build_page(some_results(raw))
    assert "a GPU, 80 GiB, 132 multiprocessors; driver 580, torch 2, CUDA 13, cuDNN 9" in page
    assert "fp16, torch.compile did not run: no compiler" in page
    assert "| fp16, eager | 300 | 2700 | 2730 | 2760 | 3.0 s |" in page
    assert "| 16 tensors | 2700.0 | 0.90 | 30.0 |" in page
    assert "`maxQueue` 1024" in page


def test_scores_that_differ_between_threads_are_told_first_of_all_faults() -> None:
    """Streams that do not wait for each other where they must would show as this."""
    page = build_page(some_results({"fp16, eager": a_raw(difference=0.5)}))
    assert "**Scores differ when several threads compute at once** (fp16, eager)" in page
    assert "Scores differ" not in build_page(some_results())


def test_a_run_that_is_cut_short_says_so(tmp_path: Path) -> None:
    """Its page is written after each part, and must not pass for a whole one."""
    results = some_results(ways={}) | {"complete": False}
    keep_results(tmp_path, "gpu", results | {"x": math.inf}, build_page(results))
    assert "ended before all was measured" in (tmp_path / "gpu.md").read_text()
    assert '"x": null' in (tmp_path / "gpu.json").read_text()


@pytest.mark.parametrize("way", WAYS, ids=[it.name for it in WAYS])
def test_requests_are_as_our_server_takes_them(way: Any) -> None:
    """By the runtime's own parser, and within a body's usual bound."""
    bodies = pack(way, draw_pictures(), Preparation(PRESET))
    assert len(bodies) > 1
    assert all(it.headers == bodies[0].headers for it in bodies)
    assert len(bodies[0].body) <= ServingSettings().max_body_bytes
    if way.name == "picture":
        assert find_path(way, "resnet50") == "/predict"
        return
    assert find_path(way, "resnet50") == "/v2/models/resnet50/infer"
    length = int(bodies[0].headers["Inference-Header-Content-Length"])
    model = replace(colours.SERVED, side=PRESET.crop)
    request = parse_message(bodies[0].body, length, model, SEVERAL)
    assert len(request.payloads) == way.images
    assert isinstance(request.payloads[0], np.ndarray) == way.decoded
    assert [(it.name, it.binary) for it in request.outputs] == [("probabilities", True)]


@pytest.mark.parametrize(
    "make",
    [
        lambda size: pack_v2_pictures([b"x" * size]),
        lambda size: pack_v2_tensor(np.full((1, 3, 4, 4), size, np.float32)),
    ],
)
def test_headers_do_not_depend_on_the_content(make: Callable[[int], Any]) -> None:
    """A load has one set of headers for all its bodies."""
    assert make(99_999).headers == make(100_000).headers
    assert make(1).body != make(2).body


def test_the_same_number_of_images_is_on_its_way_however_many_a_request_holds() -> None:
    """Else one way would be measured under more load than another."""
    on_their_way = {choose_clients(it, 64) * it.images for it in WAYS}
    assert on_their_way == {512}
    assert min(choose_clients(it, 1) for it in WAYS) == 1


def test_a_load_of_several_generators_is_the_same_load() -> None:
    """In rate or clients; each begins with another body and another seed."""
    bodies = [b"1", b"2", b"3"]
    rated = split_load(Load(url="http://127.0.0.1", bodies=bodies, seconds=1, rate=90), 3)
    assert sum(it.rate for it in rated) == pytest.approx(90)
    assert [it.bodies[0] for it in rated] == bodies
    assert len({it.seed for it in rated}) == 3
    closed = split_load(Load(url="http://127.0.0.1", bodies=bodies, seconds=1, clients=8), 3)
    assert sorted(it.clients for it in closed) == [2, 3, 3]
    few = split_load(Load(url="http://127.0.0.1", bodies=bodies, seconds=1, clients=2), 3)
    assert [it.clients for it in few] == [1, 1]


def test_reports_of_several_generators_are_one() -> None:
    """Answers a second add up; the busiest generator is the one that may have been too slow."""
    sample = Sample(0.1, 0.1, 0.5, 200, "", reused=False)
    parts = [
        Report(began=5 + n, seconds=2, cpu_seconds=1 - n / 2, samples=[sample] * (n + 1))
        for n in range(2)
    ]
    whole = join_reports(parts)
    assert whole.throughput() == sum(it.throughput() for it in parts)
    assert (whole.began, whole.cpu_seconds) == (5, 1)


def test_a_request_without_an_answer_never_ended() -> None:
    """And a load without a request has no latency."""
    good, bad = Sample(0, 0, 0.5, 200, "", reused=False), Sample(0, 0, 0.1, 503, "", reused=False)
    report = Report(began=0, seconds=1, cpu_seconds=0, samples=[good] * 9 + [bad])
    found = describe_load(report)
    assert (found["p50"], found["p99"], found["failed"]) == (0.5, math.inf, 1)
    empty = describe_load(Report(began=0, seconds=1, cpu_seconds=0, samples=[]))
    assert math.isnan(empty["p99"])


def test_forward_passes_are_counted_by_their_images() -> None:
    """As the runtime publishes them."""
    text = "".join(
        f'igw_runtime_batch_inference_seconds_{kind}{{size="{size}"}} {count}\n'
        for kind in ("count", "sum")
        for size, count in ((1, 3), (16, 2))
    )
    text = "# TYPE igw_runtime_batch_inference_seconds summary\n" + text
    assert count_passes(text) == {"passes": 5, "images": 35}


def test_nothing_is_written_where_there_is_no_gpu(tmp_path: Path) -> None:
    """It says what is missing, and how to rehearse without it; 2 is no failure of a measurement."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--output", str(tmp_path / "pages")],
        env={"PATH": str(tmp_path), "PYTHONPATH": "runtime:tests", "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "missing on this machine:" in done.stderr
    assert '"--device cpu --quick"' in done.stderr
    assert not (tmp_path / "pages").exists()


def test_no_process_of_a_rehearsal_sees_a_gpu(tmp_path: Path) -> None:
    """Else a rehearsal on a machine with one would be something else than it says."""
    assert a_plan(tmp_path, "cpu").environment()["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in a_plan(tmp_path, "cuda").environment()


def test_packages_that_were_carried_along_are_found_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Servers are started in folders of their own, where a relative path means something else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".site:runtime")
    told = a_plan(tmp_path, "cuda").environment()["PYTHONPATH"].split(":")
    assert told[:2] == [str(ROOT / "runtime"), str(ROOT / "tests")]
    assert told[2:] == [str(tmp_path / ".site"), str(tmp_path / "runtime")]


def a_plan(folder: Path, device: str) -> Plan:
    """Return a plan of nothing."""
    return Plan(
        folder=folder,
        device=device,
        model="resnet18",
        precisions=[],
        modes=[],
        sizes=[],
        workers=0,
        raw=0,
        warm=0,
        capacity=0,
        load=0,
        say=print,
    )


@pytest.mark.export
@pytest.mark.timeout(300)
def test_a_rehearsal_goes_all_the_way(tmp_path: Path) -> None:
    """From the export to the reading, with a real server; its numbers are kept nowhere."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.gpu", "--device", "cpu", "--quick"),
            *("--model", "mobilenet_v3_small", "--output", str(tmp_path / "pages")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "## Served: fp32, eager" in done.stdout
    assert "Several threads at once get the scores that one gets alone" in done.stdout
    assert "did not run" not in done.stdout
    assert not (tmp_path / "pages").exists()
