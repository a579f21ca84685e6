"""What the engine can do with nothing around it: one thread a core, in a loop. Prints JSON.

Once with tensors that lie ready, once with the pictures, decoded and preprocessed each time: no
server can answer more than the second, and only the first is the engine's alone.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.runtime.peers.bounds import CORES
from bench.runtime.peers.engine import Classifier
from bench.runtime.pictures import draw_pictures

T = TypeVar("T")


def count_per_second(work: Callable[[int], object], threads: int, seconds: float) -> float:
    """Return how often a second all threads together get the work done."""
    counts = [0] * threads
    ends = time.monotonic() + seconds

    def loop(me: int) -> None:
        while time.monotonic() < ends:
            work(counts[me])
            counts[me] += 1

    began = time.monotonic()
    workers = [threading.Thread(target=loop, args=(me,)) for me in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.monotonic() - began)


def time_each(work: Callable[[T], object], items: Sequence[T], repeats: int = 25) -> float:
    """Return the processor time of one item, in one thread."""
    spent = time.thread_time()
    for _ in range(repeats):
        for item in items:
            work(item)
    return (time.thread_time() - spent) / repeats / len(items)


def main() -> None:
    """Measure both, the tensors first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    os.environ |= {"BENCH_PACKAGE": str(options.package), "BENCH_PRECISION": options.precision}
    classifier, pictures = Classifier(streams=CORES), draw_pictures()
    tensors = [classifier.prepare(it)[None] for it in pictures]

    def infer(number: int) -> object:
        return classifier.infer(tensors[number % len(tensors)])

    def classify(number: int) -> object:
        return classifier.classify(pictures[number % len(pictures)])

    count_per_second(infer, CORES, 0.5)
    images = [classifier.decode(it) for it in pictures]
    found = {
        "decode_seconds": time_each(classifier.decode, pictures),
        "preprocess_seconds": time_each(classifier.preprocess, images),
        "infer": count_per_second(infer, CORES, options.seconds),
        "whole": count_per_second(classify, CORES, options.seconds),
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
